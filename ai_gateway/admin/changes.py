"""The page with all changes of the gateway's objects, those included that are not there any more.

Each object's own history is Django's. This one is for who has to answer for all of them, and has `admin.view_logentry`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as translate

from ai_gateway.admin.base import ControlAdmin, Tool

PAGE = 50


class ChangesAdmin(ControlAdmin):
    """Adds the page to the admin of a model."""

    def list_tools(self, request: HttpRequest) -> Iterable[Tool]:
        """See ControlAdmin.list_tools."""
        if request.user.has_perm("admin.view_logentry"):
            yield Tool(translate("All changes"), self.url_of("changes"), "history")

    def get_urls(self) -> list[Any]:
        """Add the page."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_changes"
        return [path("changes/", self.admin_site.admin_view(self.changes_view), name=name), *super().get_urls()]

    def changes_view(self, request: HttpRequest) -> HttpResponse:
        """Show a page of changes, the newest first."""
        if not request.user.has_perm("admin.view_logentry"):
            raise PermissionDenied
        asked = request.GET.get("p", "1")
        number = max(int(asked), 1) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 1
        ours = ContentType.objects.filter(app_label=self.opts.app_label)
        found = LogEntry.objects.filter(content_type__in=ours).select_related("user", "content_type")
        entries = list(found.order_by("-pk")[(number - 1) * PAGE : number * PAGE + 1])
        context = {"entries": entries[:PAGE], "number": number, "previous": number - 1}
        after = number + 1 if len(entries) > PAGE else None
        return self.page(request, "changes.html", translate("All changes"), None, next=after, **context)
