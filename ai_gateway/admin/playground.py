"""The playground in the admin: the page, below its own address, and the views that its script asks."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as translate
from django.views.decorators.debug import sensitive_post_parameters

from ai_gateway import playground
from ai_gateway.admin.base import ReadOnlyAdmin
from ai_gateway.models import Playground
from ai_gateway.playground_page import context_of

VIEWS = ("answer", "code", "models")


@admin.register(Playground)
class PlaygroundAdmin(ReadOnlyAdmin):
    """One page, where other models have a list."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether somebody may use it."""
        return playground.may_use(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """See has_view_permission."""
        return self.has_view_permission(request)

    def admits(self, request: HttpRequest) -> bool:
        """Whether somebody may ask the views."""
        return self.admin_site.has_permission(request) and self.has_view_permission(request)

    @method_decorator(sensitive_post_parameters())
    def page_view(self, request: HttpRequest) -> HttpResponse:
        """Show the page, and without a script the answer."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = context_of(request, {**{name: self._url(name) for name in VIEWS}, "call": self._url("call", "-")})
        return self.page(request, "playground.html", translate("Playground"), None, **context)

    def _url(self, view: str, *args: str) -> str:
        name = f"{self.admin_site.name}:ai_gateway_playground_{view}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def get_urls(self) -> list[Any]:
        """Give the page and the views. The first name is that of the list which the admin's own pages link to."""
        page = self.admin_site.admin_view(self.page_view)
        return [
            path("", page, name="ai_gateway_playground_changelist"),
            path("", page, name="ai_gateway_playground"),
            *playground.views(self.admits),
        ]
