"""The action of a list of routes or keys that has their kept answers forgotten."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ai_gateway import cache_store
from ai_gateway.admin.base import ControlAdmin
from ai_gateway.conf import settings

logger = logging.getLogger("ai_gateway")


class KeptAnswersAdmin(ControlAdmin):
    """A list with that action, on a site that keeps answers."""

    def mark_of(self, obj: Any) -> str | None:
        """Name the mark that the answers of a row are kept under; None: they are kept for others too."""
        raise NotImplementedError

    def has_forget_answers_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may have answers forgotten, and any are kept."""
        return settings.RESPONSE_CACHE is not None and self.has_change_permission(request)

    @admin.action(description=_("Forget the kept answers of the selected"), permissions=["forget_answers"])
    def forget_answers(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Forget answers."""
        marks = [mark for obj in queryset if (mark := self.mark_of(obj)) is not None]
        if not marks:
            messages.warning(request, _("Answers are kept for everyone here: forget those of a route, or all of them."))
            return
        try:
            cache_store.store().forget(marks)
        except Exception as error:
            # Whatever a cache raises: it may be anybody's.
            logger.error("Kept answers cannot be forgotten: %s: %s", type(error).__name__, error)
            messages.error(request, _("The cache does not answer: nothing is forgotten. The log has the details."))
            return
        messages.success(request, _("Forgotten. Other processes hear of it within seconds."))
