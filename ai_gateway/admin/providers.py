"""Providers and their credentials in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from ai_gateway import registry, trial
from ai_gateway.admin import formfields, theme
from ai_gateway.admin.base import FormMixin, Tool
from ai_gateway.admin.changes import ChangesAdmin
from ai_gateway.admin.provider_health import ProviderHealthAdmin
from ai_gateway.admin.trials import ProviderTrialAdmin
from ai_gateway.conf import settings
from ai_gateway.models import Limit, Price, Provider, ProviderCredential, RouteTarget
from ai_gateway.providers import CATALOG
from ai_gateway.stored import BrokenCredential, open_credentials

MOST_NAMED = 100
"""Targets whose routes are named, of a provider that is gone."""


def backends() -> list[str]:
    """Suggest the rows of the catalogue."""
    return sorted(CATALOG)


def what_is_stored(credential: ProviderCredential) -> str:
    """Say in a word where a credential is, as much of it as may be shown."""
    if credential.reference:
        return credential.reference
    if not credential.secret:
        return "—"
    return f"…{credential.secret_hint}" if credential.secret_hint else str(_("stored"))


class SecretFieldsMixin:
    """Leaves the field for a new secret out for those who may only look."""

    @admin.display(description=_("stored"))
    def stored(self, obj: ProviderCredential) -> str:
        """Say what is stored, without showing it."""
        return what_is_stored(obj) if obj.pk else "—"


class CredentialInline(SecretFieldsMixin, FormMixin, theme.StackedInline):  # type: ignore[type-arg]
    """The credentials of a provider."""

    model = ProviderCredential
    fields = (("name", "state"), "stored", "secret", "reference", ("option", "weight"))
    readonly_fields = ("stored",)
    show_change_link = False

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        """Offer an empty one to a new provider."""
        return 1 if obj is None else 0

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask only those for a secret who may store one."""
        if self.has_change_permission(request, obj) or self.has_add_permission(request, obj):
            return super().get_fields(request, obj)
        return (("name", "state"), "stored", ("option", "weight"))


@admin.register(Provider)
class ProviderAdmin(ProviderHealthAdmin, ProviderTrialAdmin):
    """Where calls can go."""

    when_empty = _(
        "No provider is stored here yet. Those of the settings and of the environment work without being listed. Add "
        "one with its credential, and test it on its page."
    )
    list_display = ("alias", "label", "address", "credential_count", "status")
    list_filter = ("is_enabled", "backend")
    search_fields = ("alias", "label", "backend", "base_url")
    inlines = (CredentialInline,)
    actions = ("check_selected",)
    fieldsets = (
        (None, {"fields": ("alias", "label", "backend", "is_enabled")}),
        (_("Address"), {"fields": ("base_url", "allow_private", "dialects")}),
        (_("Limits"), {"fields": ("max_concurrency", "timeouts")}),
        (_("Other options"), {"fields": ("options",), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        """Read along which credentials are in use."""
        active = ProviderCredential.objects.filter(state=ProviderCredential.State.ACTIVE).only("pk", "provider")
        found: QuerySet[Provider] = super().get_queryset(request)
        return found.prefetch_related(Prefetch("credentials", active, to_attr="in_use"))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Suggest backends."""
        if db_field.name == "backend":
            kwargs["widget"] = formfields.SuggestingInput(backends, {"class": "vTextField"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description=_("address"))
    def address(self, obj: Provider) -> str:
        """Its own address, or its backend's."""
        known = CATALOG.get(obj.backend)
        return obj.base_url or (known.base_url if known is not None else "") or "—"

    @admin.display(description=_("credentials"))
    def credential_count(self, obj: Provider) -> int:
        """How many of its credentials are in use."""
        return len(obj.in_use)  # type: ignore[attr-defined]

    @admin.display(description=_("status"))
    def status(self, obj: Provider) -> Any:
        """What this process knows of it."""
        return status_of(obj)

    def seen(self, obj: Provider) -> str:
        """See ControlAdmin.seen. Credentials are switched on and off in their own list, too."""
        states = obj.credentials.order_by("pk").values_list("pk", "updated_at")
        return " ".join([super().seen(obj), *(f"{pk}:{at.isoformat()}" for pk, at in states)])

    def tools(self, request: HttpRequest, obj: Provider) -> Iterable[Tool]:
        """See ControlAdmin.tools."""
        if self.has_change_permission(request, obj):
            yield Tool(str(_("Test this provider")), self.url_of("test", obj), "network_check")
        yield self.health_tool(obj)

    def list_tools(self, request: HttpRequest) -> Iterable[Tool]:
        """See ControlAdmin.list_tools."""
        yield self.health_tool()
        yield from super().list_tools(request)

    def get_urls(self) -> list[Any]:
        """Add the pages."""
        wrap = self.admin_site.admin_view
        return [
            path("health/", wrap(self.health_view), name="ai_gateway_provider_health"),
            path("<path:object_id>/test/", wrap(self.test_view), name="ai_gateway_provider_test"),
            *super().get_urls(),
        ]

    @admin.action(description=_("Check the selected providers"), permissions=["change"])
    def check_selected(self, request: HttpRequest, queryset: QuerySet[Provider]) -> HttpResponse:
        """Ask each of them for its models, with each of its credentials."""
        snapshot = registry.refresh()
        aliases = [provider.alias for provider in queryset[: self.list_per_page]]
        checked = trial.check_providers(aliases, snapshot)
        return self.page(request, "checked.html", translate("Checked"), None, checked=checked)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Note where the stored secrets were for."""
        if change and {"base_url", "backend"} & set(form.changed_data):
            before = Provider.objects.get(pk=form.instance.pk)
            request.gateway_moved = host_of(before) != host_of(form.instance)  # type: ignore[attr-defined]
        return super().save_form(request, form, change)

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        """Say what a new alias leaves behind, and who is left without one that is switched off."""
        super().save_model(request, obj, form, change)
        if change and {"alias", "is_enabled"} & set(form.changed_data):
            warn_of_lost(request, form.initial["alias"])

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        """Say what is left behind."""
        super().delete_model(request, obj)
        warn_of_lost(request, obj.alias)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        """Say what is left behind."""
        aliases = list(queryset.values_list("alias", flat=True))
        super().delete_queryset(request, queryset)
        for alias in aliases:
            warn_of_lost(request, alias)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Say so if it cannot be called yet, or if stored secrets do not open any more, because it is at another host
        now."""
        super().save_related(request, form, formsets, change)
        warn_of_missing(request, form.instance)
        if not getattr(request, "gateway_moved", False):
            return
        entered = {each.instance.pk for formset in formsets for each in formset.forms if "secret" in each.changed_data}
        kept = form.instance.credentials.exclude(secret="").exclude(pk__in=entered)
        names = ", ".join(kept.values_list("name", flat=True))
        if names:
            text = _("It is at another host now. Enter these credentials again, which were for the old one: %(names)s")
            messages.warning(request, text % {"names": names})


def warn_of_missing(request: HttpRequest, provider: Provider) -> None:
    """Say what it takes until callers with a gateway key can be served by a provider that was just saved."""
    if not provider.is_enabled:
        return
    try:
        keys, options = open_credentials(provider)
    except BrokenCredential as error:
        messages.warning(request, _("It cannot be called yet. %(reason)s") % {"reason": error})
        return
    if not (keys or provider.build(options).is_configured):
        text = _("It has no credential yet: add one to it, or only callers who bring their own can use it.")
        messages.warning(request, text)


def warn_of_lost(request: HttpRequest, alias: str) -> None:
    """Say what names a provider that is not there any more by this alias: targets, prices and limits do, as texts."""
    if is_still_there(alias):
        return
    targets = RouteTarget.objects.filter(provider=alias)
    routes = sorted(set(targets.values_list("route__name", flat=True)[:MOST_NAMED]))
    prices = Price.objects.filter(provider=alias).count()
    limits = Limit.objects.filter(scope=Limit.Scope.PROVIDER, subject=alias).count()
    if routes or prices or limits:
        text = _(
            "“%(alias)s” is still named by %(prices)d prices, %(limits)d limits and targets of routes: %(routes)s."
        )
        values = {"alias": alias, "prices": prices, "limits": limits, "routes": ", ".join(routes) or "—"}
        messages.warning(request, text % values)


def is_still_there(alias: str) -> bool:
    """Whether an alias leads to a provider. A row takes the place of all others, even one that is switched off; the
    catalogue has no credentials."""
    row = Provider.objects.filter(alias=alias).first()
    if row is not None:
        return row.is_enabled
    return alias in map(str.lower, settings.PROVIDERS) or (alias in CATALOG and CATALOG[alias].is_configured)


def host_of(provider: Provider) -> str | None:
    """Give the host that a provider's secrets are for, None if it is not in order."""
    try:
        return provider.host
    except (ValueError, TypeError, ImportError, OSError):
        return None


def status_of(provider: Provider) -> str:
    """Say what the snapshot in force has of a provider."""
    if not provider.is_enabled:
        return str(_("switched off"))
    snapshot = registry.snapshot()
    if provider.alias in snapshot.broken:
        return str(_("not in order: %(reason)s") % {"reason": snapshot.broken[provider.alias]})
    found = snapshot.providers.get(provider.alias)
    if found is None:
        return str(_("not loaded yet"))
    return str(_("ready") if found.is_configured else _("no credential"))


@admin.register(ProviderCredential)
class CredentialAdmin(SecretFieldsMixin, ChangesAdmin):
    """All credentials in one list, to find one, or to switch some off."""

    when_empty = _("No credential is stored yet. Each belongs to a provider, and is best added on its page.")
    list_display = ("name", "provider", "option", "stored", "weight", "state", "updated_at")
    list_filter = ("state", ("provider", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("provider",)
    search_fields = ("name", "provider__alias", "reference", "secret_hint")
    autocomplete_fields = ("provider",)
    readonly_fields = ("stored",)
    actions = ("enable", "disable")
    fieldsets = (
        (None, {"fields": ("provider", "name", "state", "weight")}),
        (_("Credential"), {"fields": ("stored", "secret", "reference", "option")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask only those for a secret who may store one."""
        if obj is None or self.has_change_permission(request, obj):
            return self.fieldsets
        return ((None, {"fields": ("provider", "name", "state", "weight", "stored", "option")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A credential stays with its provider: it would not open anywhere else."""
        return ("stored",) if obj is None else ("stored", "provider")

    @admin.action(description=_("Use the selected credentials"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[ProviderCredential]) -> None:
        """Use them."""
        self.set_state(request, queryset, ProviderCredential.State.ACTIVE)

    @admin.action(description=_("Stop using the selected credentials"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[ProviderCredential]) -> None:
        """Stop using them."""
        self.set_state(request, queryset, ProviderCredential.State.DISABLED)

    def set_state(self, request: HttpRequest, queryset: QuerySet[ProviderCredential], state: str) -> None:
        """Change the state of some credentials, and note it in their history."""
        changed = 0
        for credential in queryset.exclude(state=state):
            old, credential.state = credential.state, state
            credential.save(update_fields=["state", "updated_at"])
            self.log_change(request, credential, [{"changed": {"fields": [f"state: “{old}” → “{state}”"]}}])
            changed += 1
        messages.success(request, _("Changed %(count)d credentials.") % {"count": changed})
