"""The form for a key of one's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ai_gateway import issuing, key_store, registry
from ai_gateway.access import may_use_route
from ai_gateway.models import VirtualKey

DAYS = (7, 30, 90, 365)
USUAL_DAYS = 90

MOST_KEYS = 100
"""Keys that work, of one person: more are a mistake or a program."""

MOST_CHOICES = 60
"""Models that are offered for choice."""


class KeyForm(forms.Form):
    """What a person decides about a key. Its owner, and what its owner may do, are not up to the form."""

    ticket = forms.CharField(widget=forms.HiddenInput, required=False)
    name = forms.CharField(
        label=_("Name"),
        max_length=200,
        help_text=_("What it is for: a program, or a machine."),
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"}),
    )
    days = forms.TypedChoiceField(
        label=_("Works for"), coerce=int, initial=USUAL_DAYS, help_text=_("After that it ends by itself.")
    )
    group = forms.ModelChoiceField(
        label=_("Team"),
        queryset=Group.objects.none(),
        required=False,
        empty_label=_("none: with all of my rights"),
        help_text=_("The team that it is used for. It has this team's rights then, and no others."),
    )
    models = forms.MultipleChoiceField(
        label=_("Models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Only those that are ticked. None ticked: all that you may use."),
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        spans = [(days, ngettext("%(days)d day", "%(days)d days", days) % {"days": days}) for days in DAYS]
        fields: dict[str, Any] = self.fields
        fields["days"].choices = [*spans, (0, _("until it is revoked"))]
        # A site's own users may have no groups.
        fields["group"].queryset = user.groups.order_by("name") if hasattr(user, "groups") else Group.objects.none()
        fields["models"].choices = [(name, name) for name in choices_for(user)]
        if not fields["group"].queryset.exists():
            del fields["group"]
        if not fields["models"].choices:
            del fields["models"]
        if not self.is_bound:
            fields["ticket"].initial = issuing.new_ticket()

    def clean(self) -> dict[str, Any] | None:
        """See whether a key can be made, and by this form."""
        cleaned = super().clean()
        issuing.check_keyring()
        self.public_id = issuing.read_ticket(self.cleaned_data.get("ticket", ""))
        if VirtualKey.objects.filter(user=self.user, is_active=True)[MOST_KEYS - 1 : MOST_KEYS]:
            raise ValidationError(_("You have too many keys. Revoke some that are not used any more."))
        return cleaned

    def issue(self) -> tuple[VirtualKey, issuing.Token]:
        """Make the key, and give it, this once. Raises IntegrityError if the same form was faster."""
        given = self.cleaned_data
        key = VirtualKey(
            public_id=self.public_id,
            user=self.user,
            group=given.get("group"),
            name=given["name"],
            allowed_models=given.get("models") or [],
            expires_at=timezone.now() + timedelta(days=given["days"]) if given["days"] else None,
        )
        token = issuing.Token(key.issue())
        key.clean()
        with transaction.atomic(router.db_for_write(VirtualKey)):
            key.save()
        return key, token


def choices_for(user: Any) -> list[str]:
    """Name what a person may use: routes by their names, and the providers with all of their models."""
    snapshot, caller = registry.snapshot(), key_store.caller_of(user)
    routes = sorted(name for name in snapshot.routes if may_use_route(caller, name, snapshot))
    return [*routes, *(f"{alias}/*" for alias in sorted(snapshot.configured))][:MOST_CHOICES]
