"""A site that keeps its tables in another database than `default`."""

from __future__ import annotations

from typing import Any


class GatewayApart:
    """Sends the gateway's tables to `main`, and all others to `default`."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "main" if model._meta.app_label == "ai_gateway" else None

    db_for_write = db_for_read


class Router:
    """Sends everything to `main`."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "main"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "main"

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "main"
