"""The form field for what a scheduled task is called with: a small form of its own, made for the task that was chosen.

Without a task that is known here, or where its signature takes anything, it is two boxes of JSON. What was filled in
counts for the task that it was shown for: a hidden input says which.
"""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from celeriac.django.admin import arguments

Call = tuple[list[Any], dict[str, Any]]
_EMPTY: Call = ([], {})


class CallForm(forms.Form):
    """The fields for the arguments of one task; two boxes of JSON for one that is not known."""

    args = forms.JSONField(
        label=_("by place"),
        required=False,
        widget=forms.Textarea({"rows": 2, "cols": 60, "spellcheck": "false"}),
        help_text=_('A JSON list: ["north", 10]'),
    )
    kwargs = forms.JSONField(
        label=_("by name"),
        required=False,
        widget=forms.Textarea({"rows": 2, "cols": 60, "spellcheck": "false"}),
        help_text=_('A JSON object: {"limit": 10}'),
    )

    def __init__(self, task: Any, data: Any, prefix: str, call: Call = _EMPTY) -> None:
        self._task = task
        made = arguments.fields_of(task)
        values = arguments.values_of(task, *call) if made is not None else None
        #: Whether it is the two boxes.
        self.is_json = made is None or values is None
        super().__init__(data, prefix=prefix, initial={"args": call[0], "kwargs": call[1]})
        if made is not None and values is not None:
            self.fields = made
            self.initial = {name: arguments.shown(made[name], value) for name, value in values.items()}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = self.cleaned_data
        for name, kind in (("args", list), ("kwargs", dict)) if self.is_json else ():
            if name in cleaned and not isinstance(cleaned[name] or kind(), kind):
                self.add_error(name, self.fields[name].help_text)
        return cleaned

    @property
    def call(self) -> Call:
        """What was filled in, of a valid form."""
        if self.is_json:
            return self.cleaned_data["args"] or [], self.cleaned_data["kwargs"] or {}
        return arguments.call_of(self._task, self.cleaned_data)


class CallWidget(forms.Widget):
    """Shows a `CallForm`. `tasks` are those that are known, `chosen` the name of the task that it is for."""

    tasks: Mapping[str, Any] = {}
    chosen = ""
    call: Call = _EMPTY

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Return the form that was filled in, or None if there was none."""
        task = data.get(f"{name}-for")
        if task is None:
            return None
        form = CallForm(self.tasks.get(task), data, name, self._kept(task))
        # What was filled in for another task, before this one was chosen, says nothing.
        return form if form.is_json or task == self.chosen else None

    def _kept(self, task: str) -> Call:
        return self.call if task == self.chosen else _EMPTY

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        form = CallForm(self.tasks.get(self.chosen), None, name, self._kept(self.chosen))
        if isinstance(value, CallForm) and value.is_json == form.is_json:
            form = value
        return format_html(
            '<div class="celeriac-call" id="id_{}">{}</div>', name, rendered(form, self.chosen)
        )

    def id_for_label(self, id_: str | None) -> str:
        return ""

    def use_required_attribute(self, initial: Any) -> bool:
        return False


def rendered(form: CallForm, task: str) -> SafeString:
    """Return the rows of a form with the hidden input that says which task it is for."""
    rows: list[SafeString] = []
    for field in form:
        help_text = format_html('<div class="help">{}</div>', field.help_text) if field.help_text else ""
        rows.append(
            format_html(
                '<div class="celeriac-argument">{}{} {}{}</div>',
                field.errors, field.label_tag(), field, help_text,
            )
        )  # fmt: skip
    if not rows:
        rows.append(format_html('<p class="celeriac-quiet">{}</p>', _("It takes none.")))
    hidden = format_html('<input type="hidden" name="{}-for" value="{}">', form.prefix, task)
    return SafeString(hidden + SafeString("").join(rows))


class CallField(forms.Field):
    """Args and kwargs as one value."""

    widget = CallWidget

    def clean(self, value: Any) -> Call:
        if value is None:
            return _EMPTY
        form: CallForm = value
        if not form.is_valid():
            raise forms.ValidationError(_("See below."))
        return form.call

    def has_changed(self, initial: Any, data: Any) -> bool:
        if not isinstance(data, CallForm) or not data.is_valid():
            return data is not None
        return json.dumps(data.call, sort_keys=True) != json.dumps(self.widget.call, sort_keys=True)
