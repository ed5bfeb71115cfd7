"""The pages that ask a provider or a route something, and show how long it took and what it said."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from ai_gateway import registry, trial
from ai_gateway.admin import formfields, theme
from ai_gateway.admin.changes import ChangesAdmin
from ai_gateway.explanation import Explanation, explain
from ai_gateway.key_store import caller_of
from ai_gateway.models import Provider, Route
from ai_gateway.registry import Snapshot

PROMPT = "Say hello."


class PromptForm(forms.Form):
    """What to ask."""

    prompt = forms.CharField(
        label=_("prompt"), max_length=1000, initial=PROMPT, widget=theme.TextInput(attrs={"class": "vTextField"})
    )


class ModelForm(PromptForm):
    """Which model to ask, and what."""

    model = forms.CharField(
        label=_("model"), max_length=200, required=False, help_text=_("The provider's own name. Empty: ask no model.")
    )
    field_order = ("model", "prompt")

    def __init__(self, *args: Any, models: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["model"].widget = formfields.SuggestingInput(lambda: models, {"class": "vTextField"})
        if models:
            self.fields["model"].initial = models[0]


class TrialAdmin(ChangesAdmin):
    """Adds the page to the admin of a model. Who may change an object may try it: that costs what a call costs."""

    def get_object_to_try(self, request: HttpRequest, object_id: str) -> Any:
        """Give the object. Raises Http404 or PermissionDenied."""
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        if not self.has_change_permission(request, obj):
            raise PermissionDenied
        return obj

    @method_decorator(never_cache)
    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form, and after it was sent what came of it."""
        obj = self.get_object_to_try(request, object_id)
        # What was saved a moment ago, on another worker perhaps, is what is to be tried.
        snapshot = registry.refresh()
        form = self.trial_form(obj, snapshot, request.POST if request.method == "POST" else None)
        found = self.run_trial(request, obj, snapshot, form) if form.is_bound and form.is_valid() else {}
        title = translate("Test %(name)s") % {"name": obj}
        return self.page(request, "trial.html", title, obj, form=form, **found)

    def trial_form(self, obj: Any, snapshot: Snapshot, data: Any) -> forms.Form:
        """Make the form."""
        raise NotImplementedError

    def run_trial(self, request: HttpRequest, obj: Any, snapshot: Snapshot, form: forms.Form) -> dict[str, Any]:
        """Ask, and give what is shown."""
        raise NotImplementedError


class ProviderTrialAdmin(TrialAdmin):
    """Tests a provider: each of its credentials, and a model."""

    def trial_form(self, obj: Provider, snapshot: Snapshot, data: Any) -> forms.Form:
        """See TrialAdmin.trial_form."""
        return ModelForm(data, models=known_models(obj.alias, snapshot))

    def run_trial(self, request: HttpRequest, obj: Provider, snapshot: Snapshot, form: forms.Form) -> dict[str, Any]:
        """See TrialAdmin.run_trial."""
        provider = snapshot.providers.get(obj.alias)
        if provider is None:
            switched_off = translate("It is switched off, or not saved yet.")
            return {"problem": snapshot.broken.get(obj.alias, switched_off)}
        asked = trial.check_credentials(provider, snapshot)
        found: dict[str, Any] = {"credentials": [(name, finding) for name, finding in asked if name or finding.seconds]}
        found["listed"] = listed = trial.list_models(provider, caller_of(request.user))
        form.fields["model"].widget.suggestions = lambda: listed or known_models(obj.alias, snapshot)
        if model := form.cleaned_data["model"]:
            name = f"{obj.alias}/{model}"
            found["trial"] = trial.try_model(name, caller_of(request.user), [provider], form.cleaned_data["prompt"])
        return found


class RouteTrialAdmin(TrialAdmin):
    """Tests a route: explains it, and asks it."""

    def trial_form(self, obj: Route, snapshot: Snapshot, data: Any) -> forms.Form:
        """See TrialAdmin.trial_form."""
        return PromptForm(data)

    def run_trial(self, request: HttpRequest, obj: Route, snapshot: Snapshot, form: forms.Form) -> dict[str, Any]:
        """See TrialAdmin.run_trial."""
        caller = caller_of(request.user)
        targets = snapshot.routes.get(obj.name, ())
        in_order = [snapshot.providers[each.provider] for each in targets if each.provider in snapshot.providers]
        if not in_order:
            return {"problem": translate("It is switched off, or has no target whose provider is in order.")}
        path, _body = trial.request(trial.format_of(in_order[0]), obj.name, "")
        explanation: Explanation = explain(obj.name, caller, snapshot, path=path, headers=[])
        found = trial.try_model(obj.name, caller, in_order, form.cleaned_data["prompt"])
        return {"explanation": explanation, "trial": found, "model": obj.name}


def known_models(alias: str, snapshot: Snapshot) -> list[str]:
    """Name the models of a provider that the configuration names: its own, and those of routes."""
    provider = snapshot.providers.get(alias)
    named = provider.models if provider is not None else ()
    routed = {each.model for targets in snapshot.routes.values() for each in targets if each.provider == alias}
    return list(dict.fromkeys([*named, *sorted(model for model in routed if model)]))[:200]
