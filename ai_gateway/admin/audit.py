"""What the history of an object says: which fields were changed, and from what to what. Secrets just were changed.

The messages have the structure that Django's `LogEntry` knows, so that it shows them wherever it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django import forms
from django.db.models import Model, QuerySet
from django.utils import translation
from django.utils.text import Truncator

from ai_gateway.admin.formfields import SecretInput
from ai_gateway.models.base import as_shown

LONGEST = 120
"""Letters of a value that are shown."""

NOTHING = "—"


def change_message(form: forms.BaseForm, formsets: Iterable[Any] | None, add: bool) -> list[dict[str, Any]]:
    """Say what a form and the formsets below it changed. Names are written untranslated, as Django's own are."""
    with translation.override(None):
        messages: list[dict[str, Any]] = []
        if add:
            messages.append({"added": {}})
        elif form.changed_data:
            messages.append({"changed": {"fields": list(differences(form))}})
        for formset in formsets or ():
            messages.extend(_rows(formset))
        return messages


def _rows(formset: Any) -> Iterator[dict[str, Any]]:
    forms_by_row = {form.instance.pk: form for form in formset.forms}
    for row in formset.new_objects:
        yield {"added": _named(row)}
    for row, _names in formset.changed_objects:
        yield {"changed": {**_named(row), "fields": list(differences(forms_by_row[row.pk]))}}
    for row in formset.deleted_objects:
        yield {"deleted": _named(row)}


def _named(row: Model) -> dict[str, str]:
    return {"name": str(row._meta.verbose_name), "object": str(row)}


def differences(form: forms.BaseForm) -> Iterator[str]:
    """Write each changed field of a form as "name: old → new"."""
    for name in form.changed_data:
        field = form.fields[name]
        label = str(field.label or name.replace("_", " "))
        if isinstance(field.widget, SecretInput):
            yield f"{label}: changed"
        else:
            old = form.get_initial_for_field(field, name)
            yield f"{label}: {shown(field, old)} → {shown(field, form.cleaned_data.get(name))}"


def shown(field: forms.Field, value: Any) -> str:
    """Write a value of a field, short enough for a line."""
    if value is None or value == "" or value == [] or value == {}:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(field, forms.ModelMultipleChoiceField) or isinstance(value, QuerySet):
        text = ", ".join(sorted(map(str, value))) or NOTHING
    elif isinstance(field, forms.ModelChoiceField) and not isinstance(value, Model):
        text = str(field.queryset.filter(pk=value).first() or value) if field.queryset is not None else str(value)
    elif isinstance(field, forms.TypedChoiceField | forms.ChoiceField) and not isinstance(value, list):
        text = str(dict(field.choices).get(value, value))  # type: ignore[arg-type]
    elif isinstance(value, list):
        text = ", ".join(map(str, value))
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, datetime):
        text = f"{as_shown(value):%Y-%m-%d %H:%M}"
    else:
        text = str(value)
    return f"“{Truncator(text).chars(LONGEST)}”"
