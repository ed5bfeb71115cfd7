"""The page that tells where a call would go, and why. Nothing is sent anywhere.

A key is chosen, not typed in: the page needs none of its secret. The form is posted, so that what stands in the headers
gets into no address and no log; a credential among them is refused all the same.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import ManyToOneRel
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from ai_gateway import key_store, keys, registry
from ai_gateway.admin import formfields, theme
from ai_gateway.admin.changes import ChangesAdmin
from ai_gateway.calls import Caller, Headers
from ai_gateway.explanation import EMPTY, explain
from ai_gateway.models import VirtualKey

PATHS = (
    ("/v1/chat/completions", _("OpenAI chat completions")),
    ("/v1/responses", _("OpenAI responses")),
    ("/v1/messages", _("Anthropic messages")),
    ("/v1beta/models/-:generateContent", _("Google Gemini")),
    ("/v1/embeddings", _("embeddings")),
)

MAX_HEADERS = 2000
MAX_BODY = 200_000


class ExplainForm(forms.Form):
    """A call that is not made."""

    model = forms.CharField(label=_("model"), max_length=200, required=False)
    path = forms.ChoiceField(
        label=_("format"), choices=[(path, f"{name} ({path})") for path, name in PATHS], widget=theme.Select()
    )
    key = forms.ModelChoiceField(
        label=_("key"),
        queryset=VirtualKey.objects.select_related("user", "group"),
        required=False,
        help_text=_("As the holder of this key. Empty: as yourself, through the site's own pages."),
    )
    headers = forms.CharField(
        label=_("headers"),
        required=False,
        max_length=MAX_HEADERS,
        widget=theme.Textarea(attrs={"rows": 3, "class": "vLargeTextField gateway-lines"}),
        help_text=_("One a line, such as x-provider: groq. No credentials: choose a key."),
    )

    body = forms.CharField(
        label=_("body"),
        required=False,
        max_length=MAX_BODY,
        widget=theme.Textarea(attrs={"rows": 4, "class": "vLargeTextField gateway-lines"}),
        help_text=_("As JSON, for routes that look at what a call asks for: images, tools, its length. Or nothing."),
    )

    def __init__(self, *args: Any, admin_site: Any, may_choose_key: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        attributes = {"class": "vTextField", "autocapitalize": "none", "spellcheck": "false"}
        self.fields["model"].widget = formfields.SuggestingInput(suggested_models, attributes)
        if may_choose_key:
            relation: Any = ManyToOneRel(None, VirtualKey, "id")  # type: ignore[arg-type]
            self.fields["key"].widget = theme.RawIdInput(relation, admin_site)
        else:
            del self.fields["key"]

    def clean_headers(self) -> Headers:
        """Read the headers."""
        found: Headers = []
        for line in self.cleaned_data["headers"].splitlines():
            name, colon, value = line.partition(":")
            name = name.strip().lower()
            if not line.strip():
                continue
            if not colon or not name or not name.isascii() or not value.isprintable():
                raise ValidationError(_("Write headers as name: value, one a line."))
            if name.encode() in keys.HEADERS or name == "cookie":
                self.data = {**self.data.dict(), "headers": ""}  # type: ignore[attr-defined]
                raise ValidationError(_("Credentials are not needed here. Choose a key."))
            found.append((name.encode(), value.strip().encode("utf-8")))
        return found


def suggested_models() -> list[str]:
    """Suggest the routes, as many as a list can take."""
    return sorted(registry.snapshot().routes)[:200]


class ExplainAdmin(ChangesAdmin):
    """Adds the page to the admin of routes."""

    @method_decorator([never_cache, sensitive_post_parameters()])
    def explain_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form, and after it was sent the explanation."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = ExplainForm(
            request.POST if request.method == "POST" else None,
            initial={name: request.GET.get(name, "") for name in ("model", "key", "path")},
            admin_site=self.admin_site,
            may_choose_key=request.user.has_perm("ai_gateway.view_virtualkey"),
        )
        found = explained(request, form) if form.is_bound and form.is_valid() else {}
        return self.page(request, "explain.html", translate("Explain a call"), None, form=form, **found)


def explained(request: HttpRequest, form: ExplainForm) -> dict[str, Any]:
    """Take the decisions of the call, and give what is shown."""
    given = form.cleaned_data
    key: VirtualKey | None = given.get("key")
    caller, problem = caller_for(request, key)
    if caller is None:
        return {"problem": problem}
    snapshot = registry.refresh()
    body = given["body"].encode() or EMPTY
    found = explain(given["model"], caller, snapshot, path=given["path"], headers=given["headers"], body=body)
    return {"explanation": found, "model": given["model"], "key": key}


def caller_for(request: HttpRequest, key: VirtualKey | None) -> tuple[Caller | None, str]:
    """Give the caller that is meant, or say why there is none."""
    if key is None:
        return key_store.caller_of(request.user), ""
    record = key_store.read_keys([key.public_id]).get(key.public_id)
    if record is None or not record.is_verifiable:
        return None, translate("This key cannot be verified: its encryption key is missing.")
    if record.problem or key.is_expired:
        return None, f"401: {record.problem or translate('This gateway key has expired.')}"
    return record.caller, ""
