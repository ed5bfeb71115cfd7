"""Form fields and widgets that people can fill in: a list is a line for each item, a secret is never shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Field
from django.forms.fields import InvalidJSONInput
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from ai_gateway.admin import theme
from ai_gateway.conf import settings
from ai_gateway.protocols import DIALECTS

LINE_ENDS = re.compile(r"[\n\r]+")

LINES = {
    "allowed_models": _("Names of routes, models, or provider/model, with * for anything. One a line. Empty: all."),
    "allowed_providers": _("Aliases of providers, with * for anything. One a line. Empty: all."),
    "allowed_endpoints": _("Paths below /v1/, such as chat/completions, with * for anything. One a line. Empty: all."),
    "allowed_networks": _("Where it may be used from, such as 192.0.2.0/24. One a line. Empty: everywhere."),
    "tags": _("For reports and policies. One a line."),
}
"""The fields that hold a list of texts, with what to write there."""


class LinesField(forms.Field):
    """A list of texts, written one a line. A comma belongs to a text, or is a mistake where no text has one."""

    def __init__(self, *, takes_commas: bool, **kwargs: Any) -> None:
        self.takes_commas = takes_commas
        attributes = {"rows": 3, "class": "vLargeTextField gateway-lines", "spellcheck": "false"}
        super().__init__(**{"widget": theme.Textarea(attrs=attributes), **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Write the list of the model into the form."""
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        """Read what was typed."""
        items = value if isinstance(value, list) else LINE_ENDS.split(value or "")
        return [item.strip() for item in items if item.strip()]

    def validate(self, value: Any) -> None:
        """Refuse several on a line. Raises ValidationError."""
        super().validate(value)
        if not self.takes_commas and any("," in item for item in value):
            raise ValidationError(_("Write one a line, without commas."), code="commas")

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the items: blanks and empty lines are no change."""
        return self.to_python(initial or []) != self.to_python(data)


class ObjectField(forms.JSONField):
    """A JSON object or list. An empty one is shown as nothing, and nothing is an empty one."""

    def __init__(self, **kwargs: Any) -> None:
        attributes = {"rows": 3, "class": "vLargeTextField gateway-lines", "spellcheck": "false"}
        super().__init__(**{"widget": theme.Textarea(attrs=attributes), **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Write the object of the model into the form."""
        return "" if value in (None, {}, []) else super().prepare_value(value)

    def to_python(self, value: Any) -> Any:
        """Read it. Raises ValidationError."""
        if isinstance(value, str) and value.strip() and not is_readable(value):
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": value})
        return super().to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show what cannot be read as it was typed."""
        is_typed = isinstance(data, str) and bool(data.strip())
        return InvalidJSONInput(data) if is_typed and not is_readable(data) else super().bound_data(data, initial)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the objects."""
        return super().has_changed(initial or None, data or None)


def is_readable(text: str) -> bool:
    """Whether a text is JSON that can be stored and shown: no nest of thousands of lists, no number of thousands of
    digits or without an end, no half of a character, no null character."""
    try:
        written = json.dumps(json.loads(text), ensure_ascii=False, allow_nan=False)
        written.encode()
    except (ValueError, RecursionError):
        return False
    return "\\u0000" not in written


class DialectsField(forms.MultipleChoiceField):
    """Some of the wire formats."""

    def __init__(self, **kwargs: Any) -> None:
        names = sorted(dialect.name for dialect in DIALECTS.values() if dialect.is_generation)
        super().__init__(choices=[(name, name) for name in names], widget=theme.Checkboxes(), **kwargs)


class GuardrailsField(forms.MultipleChoiceField):
    """Some of the guardrails of the settings."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=_guardrails(), widget=theme.Checkboxes(), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Show what was chosen and the settings no longer have: to save a form must not take it away unseen."""
        known = _guardrails()
        gone = [(name, _("%s (not in the settings)") % name) for name in value or () if (name, name) not in known]
        self.choices = [*known, *gone]
        return value

    def valid_value(self, value: Any) -> bool:
        """Take what is gone as well: calls do not pass it."""
        return True


def _guardrails() -> list[tuple[str, str]]:
    """List those that may be chosen: the others are there anyway."""
    entries = settings.GUARDRAILS.items()
    return [(name, name) for name, entry in entries if not entry.get("EVERYWHERE")]


class SecretInput(theme.PasswordInput):
    """Takes a secret, and never gives one back, not even after an error."""

    def __init__(self) -> None:
        super().__init__(
            attrs={"autocomplete": "new-password", "class": "vTextField", "data-1p-ignore": "", "spellcheck": "false"},
            render_value=False,
        )


class SuggestingInput(theme.TextInput):
    """A text for which some values are suggested. They are asked for each time that it is shown."""

    template_name = "ai_gateway/widgets/suggestions.html"

    def __init__(self, suggestions: Callable[[], Iterable[str]], attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs=attrs)
        self.suggestions = suggestions

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Add the suggestions."""
        context = super().get_context(name, value, attrs)
        list_id = f"{context['widget']['attrs'].get('id', name)}_suggestions"
        context["widget"]["attrs"]["list"] = list_id
        return {**context, "list_id": list_id, "suggestions": list(self.suggestions())}


def for_json(field: Field[Any, Any]) -> forms.Field:
    """Give the form field for a JSON field: one that needs no JSON, if there is one."""
    common = {"label": capfirst(field.verbose_name), "required": False, "help_text": field.help_text}
    if field.name in LINES:
        return LinesField(takes_commas=field.name == "tags", **{**common, "help_text": LINES[field.name]})
    if field.name == "dialects":
        return DialectsField(**common)
    if field.name == "guardrails":
        return GuardrailsField(**common)
    return ObjectField(**common)
