"""What a list shows, filters and all, as a file that is written while it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ai_gateway import exports
from ai_gateway.admin.base import ControlAdmin, Tool


class ExportAdmin(ControlAdmin):
    """Adds exports to the list of single calls."""

    def list_tools(self, request: HttpRequest) -> Iterable[Tool]:
        """See ControlAdmin.list_tools. The filters go along."""
        query = f"?{request.GET.urlencode()}" if request.GET else ""
        for format, title in (("csv", _("Export as CSV")), ("jsonl", _("Export as JSON lines"))):
            yield Tool(str(title), f"{self.export_url(format)}{query}", "download")

    def export_url(self, format: str) -> str:
        """Give the address of an export."""
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_export"
        return reverse(name, args=[format], current_app=self.admin_site.name)

    def get_urls(self) -> list[Any]:
        """Add the exports."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/<slug:format>/", view, name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest, format: str) -> HttpResponseBase:
        """Send every row of the list as it is filtered, not only of the page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if format not in exports.FORMATS:
            raise Http404
        # An event loop must not wait for the database, and Django would read all of it before it sends the first line.
        stream = exports.astream if isinstance(request, ASGIRequest) else exports.stream
        chosen: ChangeList = self.get_changelist_instance(request)
        rows: Any = chosen.queryset
        response = StreamingHttpResponse(stream(rows, format), content_type=exports.CONTENT_TYPES[format])
        filename = f"usage-{timezone.now():%Y-%m-%dT%H%M}.{format}"
        response["Content-Disposition"] = f'attachment; filename="{filename}"'
        response["Cache-Control"] = "no-store"
        return response
