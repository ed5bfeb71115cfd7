"""A site that keeps its tables in another database than `default`."""

from __future__ import annotations

from typing import Any


class Router:
    """Sends everything to `main`."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "main"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "main"

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "main"
