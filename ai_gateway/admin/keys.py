"""Virtual keys in the admin: made, exchanged and revoked here, and shown once, on the page that answers the request.

A key is in that one answer and nowhere else: in no session, no message, no address and no history. The page is not
kept by browsers, and reloading it makes no second key (`issuing.py`).

Who may issue keys to other people has `issue_keys`. With `issue_own_keys` alone one gets keys of one's own. A key has
its owner's rights, so it is never moved to another owner.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from ai_gateway import cache_store, crypto, issuing, snippets
from ai_gateway.admin.base import Tool
from ai_gateway.admin.changes import ChangesAdmin
from ai_gateway.admin.kept_answers import KeptAnswersAdmin
from ai_gateway.admin.usage_base import tools_for
from ai_gateway.cache_policy import owner_of
from ai_gateway.calls import Caller
from ai_gateway.conf import settings
from ai_gateway.models import VirtualKey
from ai_gateway.models.base import as_shown


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new key or a changed one. A new one brings the public id that it will have."""

    ticket = forms.CharField(required=False, widget=forms.HiddenInput)

    owner: Any = None
    """Whose a new key will be, if the form does not ask."""

    class Meta:
        model = VirtualKey
        fields = "__all__"  # noqa: DJ007

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_new = self.instance.pk is None
        if self.is_new:
            self.fields["ticket"].initial = issuing.new_ticket
            if self.owner is not None:
                self.instance.user = self.owner
        else:
            del self.fields["ticket"]

    def clean(self) -> dict[str, Any] | None:
        """See whether a key can be made, and by this form."""
        cleaned = super().clean()
        if self.is_new:
            issuing.check_keyring()
            self.instance.public_id = issuing.read_ticket(self.cleaned_data.get("ticket", ""))
        return cleaned


def state_of(key: VirtualKey) -> str:
    """Say in a word whether a key works."""
    if not key.is_active:
        return str(_("revoked"))
    if key.is_expired:
        return str(_("expired"))
    return str(_("active") if key.user.is_active else _("owner not active"))


def owner_is_active() -> Q:
    """Find keys whose owner is active. A site's own users may all be."""
    has_column = any(field.name == "is_active" for field in get_user_model()._meta.concrete_fields)
    return Q(user__is_active=True) if has_column else Q(user__isnull=False)


class StateFilter(admin.SimpleListFilter):
    """Keys that work, and those that do not."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the choices."""
        return [
            ("active", _("active")),
            ("revoked", _("revoked")),
            ("expired", _("expired")),
            ("idle", _("owner not active")),
            ("unused", _("never used")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter."""
        now = timezone.now()
        lasting = Q(expires_at=None) | Q(expires_at__gt=now)
        if self.value() == "active":
            return queryset.filter(lasting, owner_is_active(), is_active=True)
        if self.value() == "idle":
            return queryset.filter(lasting, ~owner_is_active(), is_active=True)
        if self.value() == "revoked":
            return queryset.filter(is_active=False)
        if self.value() == "expired":
            return queryset.filter(expires_at__lte=now)
        if self.value() == "unused":
            return queryset.filter(last_used_at=None)
        return queryset


@admin.register(VirtualKey)
class VirtualKeyAdmin(ChangesAdmin, KeptAnswersAdmin):
    """Who holds a key, and what for."""

    form = KeyForm
    when_empty = _(
        "No key is stored yet. A key is what programs send to be let in, and its owner is whose calls they are. Add "
        "one here, or let people make their own in the portal."
    )
    list_display = ("name", "held_by", "state", "last_used", "ends", "key_shown")
    list_filter = (StateFilter,)
    list_select_related = ("user", "group")
    sortable_by = ("name",)
    search_fields = ("public_id",)
    search_help_text = _("The beginning of a name or of an owner's name, or the public id: the middle part of a key.")
    looked_up = ("user", "group")
    actions = ("revoke_selected", "forget_answers")
    fieldsets = (
        (None, {"fields": ("ticket", "name", "user", "group", "expires_at")}),
        (
            _("What it may be used for"),
            {
                "fields": (
                    "allowed_models",
                    "allowed_providers",
                    "allowed_endpoints",
                    "allowed_networks",
                    "may_choose_fallbacks",
                    "caching",
                )
            },
        ),
        (_("Guardrails"), {"fields": ("guardrails",), "classes": ("collapse",)}),
        (_("For reports"), {"fields": ("tags", "metadata", "records_bodies"), "classes": ("collapse",)}),
    )

    # What is shown.

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the state of a key that there is, and ask for the owner of a new one if there is a choice."""
        if obj is None and self.may_issue_to_others(request):
            return self.fieldsets
        if obj is None:
            return ((None, {"fields": ("ticket", "name", "group", "expires_at")}), *self.fieldsets[1:])
        first = ("key_shown", "state", "name", "user", "group", "expires_at", "last_used_at", "created_at")
        return ((None, {"fields": first}), *self.fieldsets[1:])

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A key keeps its owner. One that was revoked stays as it was."""
        if obj is None:
            return ()
        fixed = ("key_shown", "state", "user", "last_used_at", "created_at")
        if obj.is_active:
            return fixed
        names = [name for _title, options in self.get_fieldsets(request, obj) for name in options["fields"]]
        return tuple(names)

    @admin.display(description=_("key"))
    def key_shown(self, obj: VirtualKey) -> str:
        """As much of the key as may be shown."""
        return format_html('<code class="gateway-key">{}</code>', obj.shown)

    @admin.display(description=_("owner"))
    def held_by(self, obj: VirtualKey) -> str:
        """Its owner, and the team that it is used for."""
        return f"{obj.user} ({obj.group})" if obj.group is not None else str(obj.user)

    @admin.display(description=_("ends"))
    def ends(self, obj: VirtualKey) -> str:
        """The day on which it ends."""
        return date_format(as_shown(obj.expires_at), "SHORT_DATE_FORMAT") if obj.expires_at else "—"

    @admin.display(description=_("last used"))
    def last_used(self, obj: VirtualKey) -> str:
        """How long ago it was used."""
        return str(_("%(span)s ago") % {"span": timesince(obj.last_used_at, depth=1)}) if obj.last_used_at else "—"

    @admin.display(description=_("state"))
    def state(self, obj: VirtualKey) -> str:
        """Whether it works."""
        return state_of(obj)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by what an index can find in a million rows."""
        term = search_term.strip()
        if not term:
            return queryset, False
        public_id = term.split("_")[1][: crypto.PUBLIC_ID_LENGTH] if term.startswith("gw_") else term
        people: Any = get_user_model()
        named = {f"{people.USERNAME_FIELD}__startswith": term}
        owners = people._default_manager.filter(**named).values("pk")[:100]
        found = Q(public_id=public_id) | Q(name__startswith=term) | Q(user__in=[row["pk"] for row in owners])
        return queryset.filter(found), False

    def mark_of(self, obj: VirtualKey) -> str | None:
        """See KeptAnswersAdmin.mark_of."""
        policy = settings.RESPONSE_CACHE
        if policy is None or policy.scope == "everyone":
            return None
        return cache_store.mark_of("owner", owner_of(Caller(key_id=obj.pk, user_id=obj.user_id), policy.scope))

    # What is permitted.

    def may_issue_to_others(self, request: HttpRequest) -> bool:
        """Whether this user may make keys that others own."""
        return issuing.may_issue_to_others(request.user)

    def may_issue(self, request: HttpRequest, key: VirtualKey | None = None) -> bool:
        """Whether this user may be shown a key: this one, or a new one of their own."""
        is_own = key is None or key.user_id == request.user.pk
        return self.may_issue_to_others(request) or (is_own and issuing.may_issue_to_self(request.user))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """To add a key is to issue it."""
        return super().has_add_permission(request) and self.may_issue(request)

    def may_rotate(self, request: HttpRequest, key: VirtualKey) -> bool:
        """Whether this user may exchange a key, and so be shown the new one."""
        return key.is_active and self.has_change_permission(request, key) and self.may_issue(request, key)

    # Making.

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Fix the owner where there is no choice."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if not change and not self.may_issue_to_others(request):
            form.owner = request.user
        return form

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A new key is followed by its own page, and by no other form."""
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**buttons, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, and make the key of a new row."""
        if not change:
            request.gateway_token = issuing.Token(obj.issue())  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Show the new key."""
        return self.show_once(request, obj, request.gateway_token)  # type: ignore[attr-defined]

    @method_decorator(never_cache)
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The answer to a form may hold a key: nobody keeps a copy."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError:
            # Of two that are sent at the same moment one is first.
            messages.error(request, _("Nothing was saved: the form was sent twice, or what it refers to is gone."))
            return HttpResponseRedirect(self.url_of("changelist"))

    def show_once(self, request: HttpRequest, key: VirtualKey, token: issuing.Token) -> HttpResponse:
        """Show a key, this once."""
        title = translate("The key %(name)s") % {"name": key.name}
        given = snippets.for_key(snippets.origin(request), token)
        return self.page(request, "token.html", title, key, token=token, snippets=given, expires_at=key.expires_at)

    # Exchanging and revoking.

    def tools(self, request: HttpRequest, obj: VirtualKey) -> Iterable[Tool]:
        """See ControlAdmin.tools."""
        if self.may_rotate(request, obj):
            yield Tool(str(_("Exchange")), self.url_of("rotate", obj), "autorenew")
        if obj.is_active and self.has_change_permission(request, obj):
            yield Tool(str(_("Revoke")), self.url_of("revoke", obj), "block")
        yield from tools_for(request, self.admin_site, obj)

    def get_urls(self) -> list[Any]:
        """Add the pages."""
        wrap = self.admin_site.admin_view
        return [
            path("<path:object_id>/rotate/", wrap(self.rotate_view), name="ai_gateway_virtualkey_rotate"),
            path("<path:object_id>/revoke/", wrap(self.revoke_view), name="ai_gateway_virtualkey_revoke"),
            *super().get_urls(),
        ]

    @method_decorator([never_cache, require_http_methods(["GET", "POST"])])
    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then exchange the key for another with the same rights, and show that."""
        key = self.get_key(request, object_id)
        if not self.may_rotate(request, key):
            raise PermissionDenied
        problem = ""
        if request.method == "POST":
            try:
                return self.show_once(request, key, self.exchange(request, key))
            except ValidationError as error:
                problem = error.messages[0]
        title = translate("Exchange %(name)s?") % {"name": key.name}
        ticket = issuing.exchange_ticket(key)
        return self.page(request, "rotate.html", title, key, ticket=ticket, problem=problem)

    @transaction.atomic
    def exchange(self, request: HttpRequest, key: VirtualKey) -> issuing.Token:
        """Give a key's row another key, and note it in its history. Raises ValidationError for a form that is spent."""
        VirtualKey.objects.select_for_update().get(pk=key.pk)  # Of two that are sent at once the second waits here.
        key.refresh_from_db()
        if not key.is_active:
            raise ValidationError(_("This key was revoked in the meantime."))
        issuing.check_exchange(key, request.POST.get("ticket", ""))
        token = issuing.Token(key.issue())
        key.save()
        self.log_change(request, key, [{"changed": {"fields": ["the key itself: exchanged for a new one"]}}])
        return token

    @method_decorator([never_cache, require_http_methods(["GET", "POST"])])
    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then revoke the key."""
        key = self.get_key(request, object_id)
        if not self.has_change_permission(request, key):
            raise PermissionDenied
        if request.method == "POST":
            self.revoke(request, key)
            messages.success(request, _("The key “%(name)s” is revoked.") % {"name": key.name})
            return HttpResponseRedirect(self.url_of("change", key))
        title = translate("Revoke %(name)s?") % {"name": key.name}
        return self.page(request, "revoke.html", title, key)

    @admin.action(description=_("Revoke the selected keys"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[VirtualKey]) -> None:
        """Revoke keys."""
        keys = list(queryset.filter(is_active=True))
        for key in keys:
            self.revoke(request, key)
        messages.success(request, _("Revoked %(count)d keys.") % {"count": len(keys)})

    def revoke(self, request: HttpRequest, key: VirtualKey) -> None:
        """Switch a key off, for good, and note it in its history."""
        if key.is_active:
            key.is_active = False
            key.save(update_fields=["is_active", "updated_at"])
            self.log_change(request, key, [{"changed": {"fields": ["active: yes → no (revoked)"]}}])

    def get_key(self, request: HttpRequest, object_id: str) -> VirtualKey:
        """Give the key that an address names. Raises Http404."""
        key: Model | None = self.get_object(request, object_id)
        if not isinstance(key, VirtualKey):
            raise Http404
        return key
