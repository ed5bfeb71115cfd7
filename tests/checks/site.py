"""A site that is in order, from which all tests of checks start, and what the checks say after it was changed."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import CheckMessage, Error, Warning, run_checks
from django.db import connections
from django.urls import include, path

if TYPE_CHECKING:
    from pytest_django import Settings


ROOT = Path(__file__).resolve().parents[2]
SECURITY = "django.middleware.security.SecurityMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
CANARY = "sk-canary-0123456789-0123456789"
"""A secret that must stand in no message."""


class Site:
    """A site that is in order, and what the checks say after it was changed."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.settings = settings
        self.monkeypatch = monkeypatch
        self.directory = directory
        monkeypatch.syspath_prepend(directory)
        monkeypatch.setenv("CHECKED_PROVIDER_KEY", CANARY)
        monkeypatch.setenv("CHECKED_GATEWAY_KEY", f"gw_{CANARY}")
        for name in [name for name in dir(settings) if name.startswith("CORS_")]:
            delattr(settings, name)
        settings.DEBUG = False
        settings.ALLOWED_HOSTS = ["gateway.example"]
        settings.MIDDLEWARE = [SECURITY, COMMON]
        settings.AI_GATEWAY = {
            "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "env:CHECKED_PROVIDER_KEY"}}},
            "KEYS": {"team-a": "env:CHECKED_GATEWAY_KEY"},
            "ROUTES": {"fast": ["openai/gpt-5-mini"]},
        }
        settings.BASE_DIR = ROOT
        monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
        monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 100_000))
        self.urls(path("", include("ai_gateway.urls")))
        self.asgi("from ai_gateway.asgi import get_asgi_application\n")
        options = {"options": "-c idle_in_transaction_session_timeout=15s"}
        engine = "django.db.backends.postgresql"
        self.database(ENGINE=engine, CONN_MAX_AGE=0, ATOMIC_REQUESTS=False, OPTIONS=options)

    def gateway(self, **keys: Any) -> None:
        """Set keys of AI_GATEWAY."""
        self.settings.AI_GATEWAY = {**self.settings.AI_GATEWAY, **keys}

    def provider(self, alias: str = "mine", /, **entry: Any) -> None:
        """Make this the only configured provider besides openai."""
        self.gateway(PROVIDERS={"openai": {}, alias: entry})

    def urls(self, *patterns: Any) -> None:
        """Set the site's URL patterns."""
        module = ModuleType("checked_urls")
        module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
        self.monkeypatch.setitem(sys.modules, module.__name__, module)
        self.settings.ROOT_URLCONF = module.__name__

    def asgi(self, text: str) -> None:
        """Set the text of the site's asgi.py. It would fail if it were run."""
        package = self.directory / "checked_site"
        package.mkdir(exist_ok=True)
        (package / "asgi.py").write_text(f"{text}\nraise SystemError\n", encoding="utf-8")
        self.settings.ASGI_APPLICATION = "checked_site.asgi.application"

    def database(self, **options: Any) -> None:
        """Change the settings of the default database."""
        for name, value in options.items():
            self.monkeypatch.setitem(connections.settings["default"], name, value)

    def messages(self, *, deploy: bool = False) -> list[CheckMessage]:
        found = run_checks(tags=["ai_gateway"], include_deployment_checks=deploy, databases=[])
        for message in found:
            assert message.hint
            assert isinstance(message, Error if message.id[11:12] == "E" else Warning)  # type: ignore[index]
            assert CANARY not in f"{message.msg} {message.hint}"
        return found

    def ids(self, *, deploy: bool = False) -> set[str | None]:
        """The ids of what the checks say: E and W with the number, without the app's name."""
        return {message.id.removeprefix("ai_gateway.") for message in self.messages(deploy=deploy) if message.id}

    def hint(self) -> str:
        """The hint of the only message."""
        (message,) = self.messages()
        return str(message.hint)
