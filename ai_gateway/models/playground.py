"""What the admin lists the playground by, and what its permission belongs to. There is no table: nothing is kept."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _

from ai_gateway.models.usage import UsageRecord


class Playground(UsageRecord):
    """The playground: all that a call made there leaves behind is its usage record."""

    class Meta:
        proxy = True
        verbose_name = _("playground")
        verbose_name_plural = _("playground")
        default_permissions = ()
        permissions: ClassVar[list[tuple[str, Any]]] = [("use_playground", _("Can use the playground"))]
