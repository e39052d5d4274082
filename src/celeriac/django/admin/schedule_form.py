"""The form of a schedule: one for all kinds, with the task picked from those known here and its arguments as fields.

Without JavaScript it shows the fields of all kinds, and those of the task's arguments once it was sent.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms.models import construct_instance
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from celeriac.django.admin import arguments
from celeriac.django.admin.call_field import CallField
from celeriac.django.models import Schedule
from celeriac.django.schedule import Kind

#: Errors of the model about fields that the form has under another name.
_PLACES = {"args": "call", "kwargs": "call"}


class TaskWidget(forms.TextInput):
    """A text with the names of tasks to choose from, which the browser searches."""

    names: tuple[str, ...] = ()

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        known = f"{name}-known"
        options = format_html_join("", '<option value="{}">', ((each,) for each in self.names))
        given = {**(attrs or {}), "list": known, "autocomplete": "off", "spellcheck": "false"}
        return format_html(
            '{}<datalist id="{}">{}</datalist>', super().render(name, value, given, renderer), known, options
        )


class ErrorsElsewhere(forms.ModelForm):
    """A form that shows the model's errors about fields that it does not have."""

    def _update_errors(self, errors: ValidationError) -> None:
        if hasattr(errors, "error_dict"):
            placed: dict[str, list[ValidationError]] = {}
            for name, found in errors.error_dict.items():
                place = _PLACES.get(name, name)
                place = place if place in self.fields else NON_FIELD_ERRORS
                placed.setdefault(place, []).extend(found)
            errors = ValidationError(placed)
        super()._update_errors(errors)


class SwitchForm(ErrorsElsewhere):
    """What may be changed in the list, and of an entry in code: whether it is on."""

    class Meta:
        model = Schedule
        fields = ("enabled",)

    def _post_clean(self) -> None:
        # Whatever is wrong with it, it can be switched off; and of an entry in code the code knows.
        if self.instance.from_code or not self.cleaned_data.get("enabled"):
            construct_instance(self, self.instance, ("enabled",))
        else:
            super()._post_clean()


class ScheduleForm(ErrorsElsewhere):
    """All of a schedule. `tasks` are those that are known here, by name."""

    tasks: Mapping[str, Any] = {}

    elsewhere = forms.BooleanField(
        label=_("It lives elsewhere"),
        required=False,
        help_text=_("I know that this project has no such task: workers of another one run it."),
    )
    call = CallField(label=_("Arguments"), required=False)

    class Meta:
        model = Schedule
        exclude = ("args", "kwargs")  # noqa: DJ006 - those are `call`
        widgets = {
            "task": TaskWidget(attrs={"class": "vTextField"}),
            "description": forms.Textarea({"rows": 2, "cols": 60}),
            "headers": forms.Textarea({"rows": 2, "cols": 60, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        task = self.fields.get("task")
        if task is None:
            return  # to look at only
        kinds: Any = self.fields["kind"]
        kinds.choices = [each for each in Kind.choices if each[0] != Kind.CODE]
        task.widget.names = tuple(sorted(self.tasks))
        chosen = self.data.get(self.add_prefix("task")) if self.is_bound else self.initial.get("task")
        call = self.fields["call"].widget
        call.tasks = self.tasks
        call.chosen = (chosen or "").strip()
        if call.chosen == self.instance.task:
            call.call = (self.instance.args, self.instance.kwargs)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        name = cleaned.get("task")
        if name and not cleaned.get("elsewhere") and name not in self.tasks and self._is_new(name):
            self.add_error("task", unknown_task(name, self.tasks))
        if name and "call" in cleaned:
            args, kwargs = cleaned["call"]
            wrong = arguments.misfit(self.tasks.get(name), args, kwargs)
            if wrong:
                self.add_error("call", wrong)
            self.instance.args, self.instance.kwargs = args, kwargs
        return cleaned

    def _is_new(self, name: str) -> bool:
        """Whether the name was not saved before: then somebody knew that it lives elsewhere."""
        return self.instance.pk is None or "task" in self.changed_data


def unknown_task(name: str, tasks: Mapping[str, Any]) -> str:
    """Return what to tell of a name that no task has."""
    near = get_close_matches(name, tasks, 1)
    text = _("This project has no task “%(name)s”.") % {"name": name}
    if near:
        text += " " + _("Did you mean “%(near)s”?") % {"near": near[0]}
    return str(text)
