"""The arguments of a task as fields of a form: made from its signature and type hints, read back as a call.

Used by `call_field`. What is stored is JSON as it is on the wire, so that a date is a date for the task. Parameters
without a hint, and hints that no field is made for, take JSON, in which plain words need no quotes.
"""

import datetime as dt
import decimal
import enum
import inspect
import json
import types
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from django import forms
from django.utils.translation import gettext_lazy as _

from celeriac.errors import MessageError
from celeriac.message import serializers
from celeriac.sensitive import BY_NAME

_KINDS = inspect.Parameter
#: Parameters that fields are made for; others need JSON.
_NAMED = (_KINDS.POSITIONAL_OR_KEYWORD, _KINDS.KEYWORD_ONLY)


class JSONText(forms.CharField):
    """A value as JSON; a text that does not look like JSON is taken as it is."""

    default_error_messages = {"invalid": _("This is not JSON: %(why)s.")}

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            if text[0] not in '[{"':
                return text
            raise forms.ValidationError(self.error_messages["invalid"], "invalid", {"why": error}) from None


def _reads_as_itself(value: Any) -> bool:
    if not isinstance(value, str) or not value or value[0] in '[{"':
        return False
    try:
        json.loads(value)
    except ValueError:
        return True
    return False


# With the browser's own pickers, which also work where a script has put them.
_DATE = forms.DateInput({"type": "date"}, "%Y-%m-%d")
_TIME = forms.TimeInput({"type": "time", "step": "1"}, "%H:%M:%S")
_MOMENT = forms.DateTimeInput({"type": "datetime-local", "step": "1"}, "%Y-%m-%dT%H:%M:%S")

#: The field for a type hint, by class; the first that it is a subclass of.
_FIELDS: tuple[tuple[type, Callable[..., forms.Field]], ...] = (
    (bool, forms.BooleanField),
    (int, forms.IntegerField),
    (float, forms.FloatField),
    (decimal.Decimal, forms.DecimalField),
    (dt.datetime, partial(forms.DateTimeField, widget=_MOMENT)),
    (dt.date, partial(forms.DateField, widget=_DATE)),
    (dt.time, partial(forms.TimeField, widget=_TIME)),
    (uuid.UUID, forms.UUIDField),
    (str, forms.CharField),
)


def fields_of(task: Any) -> dict[str, forms.Field] | None:
    """Return a field for each parameter of a task, by its name; None where only JSON will do."""
    if task is None or task.arity is None:
        return None
    parameters = task.arity.signature.parameters.values()
    if any(parameter.kind not in _NAMED for parameter in parameters):
        return None
    hints = _hints(task)
    return {
        parameter.name: _field(parameter, hints.get(parameter.name, parameter.annotation))
        for parameter in parameters
    }


def _hints(task: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(getattr(task, "__wrapped__", task.run))
    except Exception:  # a hint may name what only a type checker imports
        return {}


def _field(parameter: inspect.Parameter, hint: Any) -> forms.Field:
    optional, hint = _without_none(hint)
    has_default = parameter.default is not parameter.empty
    options: dict[str, Any] = {"label": parameter.name, "required": not (has_default or optional)}
    if has_default:
        options["initial"] = _plainer(parameter.default)
        if parameter.default not in (None, False, True):
            options["help_text"] = _("Empty: %(default)r") % {"default": parameter.default}
    choices = _choices(hint)
    if choices is not None:
        empty = [] if options["required"] else [("", "–")]
        return forms.TypedChoiceField(
            choices=[*empty, *((json.dumps(value), label) for value, label in choices)],
            coerce=json.loads,
            empty_value=None,
            **{**options, "initial": json.dumps(options.get("initial"))},
        )
    if hint is bool and not optional:
        return forms.BooleanField(**{**options, "required": False})
    if isinstance(hint, type) and hint is not bool:
        for kind, make in _FIELDS:
            if issubclass(hint, kind):
                return _with_empty(make(**options))
    return _with_empty(
        JSONText(widget=forms.Textarea({"rows": 1, "cols": 40, "spellcheck": "false"}), **options)
    )


def _with_empty(field: forms.Field) -> forms.Field:
    # A default is what holds where nothing is filled in: it is not filled in beforehand.
    field.initial = None
    if isinstance(field, forms.CharField) and not isinstance(field, JSONText):
        field.empty_value = None
        field.strip = False
    return field


def _without_none(hint: Any) -> tuple[bool, Any]:
    """Return whether a hint allows None, and what else it is."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint is None or hint is type(None), hint
    others = [each for each in get_args(hint) if each is not type(None)]
    return len(others) < len(get_args(hint)), others[0] if len(others) == 1 else Any


def _choices(hint: Any) -> list[tuple[Any, str]] | None:
    """Return the values that a Literal or an Enum has, as JSON has them, with what to call them."""
    if get_origin(hint) is Literal:
        return [(value, str(value)) for value in map(_plainer, get_args(hint))]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [(_plainer(member), str(getattr(member, "label", member.name))) for member in hint]
    return None


def _plainer(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def call_of(task: Any, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return args and kwargs, as they are stored, for cleaned values by parameter. What is a default is left out."""
    kwargs = {}
    for name, parameter in task.arity.signature.parameters.items():
        value = given[name]
        default = _plainer(parameter.default)
        is_default = value is None or (type(value) is type(default) and value == default)
        if parameter.default is parameter.empty or not is_default:
            kwargs[name] = _stored(value)
    return [], kwargs


def values_of(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the values of a stored call by parameter, None where they fit no fields."""
    try:
        bound = task.arity.signature.bind_partial(*args, **kwargs)
        return {name: _loaded(value) for name, value in bound.arguments.items()}
    except (TypeError, MessageError):
        return None


def shown(field: forms.Field, value: Any) -> Any:
    """Return a value in the form in which a field of ours takes it."""
    if isinstance(field, forms.TypedChoiceField):
        return "" if value is None else json.dumps(_stored(value))
    if isinstance(field, JSONText) and not _reads_as_itself(value):
        return "" if value is None else json.dumps(_stored(value), ensure_ascii=False)
    return value


def covered(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, str]:
    """Return reprs of a stored call for those who may only look: without what the task does not want to be shown."""
    covers = BY_NAME if task is None else task.covers
    if covers is not None:
        args, kwargs = covers.cover(args, kwargs)
    return repr(tuple(args)), repr(dict(kwargs))


def misfit(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return why a task cannot be called so, empty where it can."""
    if task is None or task.arity is None or task.arity.fits(args, kwargs):
        return ""
    try:
        task.arity.signature.bind(*args, **kwargs)
    except TypeError as error:
        return f"{task.name}{task.arity.signature}: {error}."
    return ""


def _stored(value: Any) -> Any:
    """Return a value as JSON has it, with the tags that the wire has."""
    return json.loads(serializers.json_dumps(value))


def _loaded(value: Any) -> Any:
    return serializers.json_loads(json.dumps(value).encode())
