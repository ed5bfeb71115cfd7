"""Checks of the site around the gateway, with `check --deploy`: what works in development and fails under load."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import django
from django.conf import settings as site
from django.core.checks import CheckMessage, Warning, register
from django.db import connections
from django.utils.module_loading import import_string

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings

GZIP = "django.middleware.gzip.GZipMiddleware"

THREE_LINES = (
    "from ai_gateway.asgi import get_asgi_application",
    'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{package}.settings")',
    "application = get_asgi_application()",
)
"""What asgi.py is made of."""


@register(TAG, deploy=True)
def check_server(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check the libraries under the server."""
    messages: list[CheckMessage] = []
    if not _is_installed("httptools"):
        messages.append(
            Warning(
                "httptools is not installed. Without it uvicorn parses requests with h11, which lets smuggled requests "
                "through, and the gateway's own connections do not work.",
                hint='pip install "django-ai-gateway[server]", and start uvicorn with --http httptools.',
                id="ai_gateway.W060",
            )
        )
    if _is_installed("uvicorn") and not _is_installed("uvloop") and _has_uvloop():
        messages.append(
            Warning(
                "uvloop is not installed: the same work costs about twice the CPU.",
                hint='pip install "django-ai-gateway[server]".',
                id="ai_gateway.W061",
            )
        )
    return messages


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_uvloop() -> bool:
    return sys.platform != "win32" and sys.implementation.name == "cpython"


@register(TAG, deploy=True)
def check_asgi(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the site's ASGI application is the gateway's. The module's text is read, not run."""
    name = _asgi_module()
    spec = _find(name) if name else None
    if spec is None or spec.origin is None:
        return [_no_asgi(name or "asgi", "This site has no ASGI module: under WSGI the gateway answers with errors.")]
    if "ai_gateway.asgi" in Path(spec.origin).read_text(encoding="utf-8", errors="replace"):
        return []
    what = (
        f"{name} does not use ai_gateway.asgi: bodies have no limit, every stream costs a thread, SIGTERM cuts streams."
    )
    return [_no_asgi(spec.name, what)]


def _no_asgi(module: str, what: str) -> CheckMessage:
    lines = "; ".join(THREE_LINES).format(package=module.rpartition(".")[0] or "site")
    return Warning(what, hint=f"Write into {module.replace('.', '/')}.py: {lines}", id="ai_gateway.W071")


def _asgi_module() -> str:
    """Name the module of the ASGI application: by ASGI_APPLICATION, else where `startproject` puts it."""
    named = getattr(site, "ASGI_APPLICATION", None)
    if isinstance(named, str):
        return named.rpartition(".")[0]
    neighbour = getattr(site, "WSGI_APPLICATION", None) or f"{getattr(site, 'ROOT_URLCONF', '')}.application"
    package = neighbour.rpartition(".")[0].rpartition(".")[0]
    return f"{package}.asgi" if package else "asgi"


def _find(module: str) -> Any:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


@register(TAG, deploy=True)
def check_databases(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the databases suit a server with many open streams."""
    lasting = [alias for alias, database in connections.settings.items() if database.get("CONN_MAX_AGE") != 0]
    single = [alias for alias, database in connections.settings.items() if database["ENGINE"].endswith("sqlite3")]
    patient = [alias for alias, database in connections.settings.items() if _waits_for_the_lost(database)]
    return [*map(_lasting_connections, lasting), *map(_sqlite, single), *map(_patient_server, patient)]


def _lasting_connections(alias: str) -> CheckMessage:
    return Warning(
        f"DATABASES[{alias!r}] keeps connections open (CONN_MAX_AGE). Under ASGI they belong to threads "
        "that are gone or busy with other requests, and pile up until the server has none left.",
        hint='Write "CONN_MAX_AGE": 0, and for PostgreSQL "OPTIONS": {"pool": {"max_size": 20}} (needs psycopg[pool]).',
        id="ai_gateway.W063",
    )


def _sqlite(alias: str) -> CheckMessage:
    return Warning(
        f"DATABASES[{alias!r}] is SQLite: one writer at a time, and one machine.",
        hint='Use PostgreSQL ("ENGINE": "django.db.backends.postgresql"). For one small process, silence this check.',
        id="ai_gateway.W065",
    )


class _Patience(NamedTuple):
    """How a kind of server is told how long to wait for a process in the middle of a transaction."""

    server: str
    option: str
    variables: tuple[str, ...]
    remedy: str


PATIENCE = {
    "django.db.backends.postgresql": _Patience(
        "PostgreSQL",
        "options",
        ("idle_in_transaction_session_timeout",),
        '"options": "-c idle_in_transaction_session_timeout=15s"',
    ),
    "django.db.backends.mysql": _Patience(
        "the server",
        "init_command",
        ("idle_transaction_timeout", "idle_write_transaction_timeout", "wait_timeout"),
        '"init_command": "SET SESSION idle_transaction_timeout = 15" (MariaDB; MySQL has only wait_timeout)',
    ),
}
"""By Django's engine."""


def _waits_for_the_lost(database: dict[str, Any]) -> bool:
    patience = PATIENCE.get(database["ENGINE"])
    if patience is None:
        return False
    words = re.findall(r"\w+", str(database.get("OPTIONS", {}).get(patience.option, "")))
    return not set(words) & set(patience.variables)


def _patient_server(alias: str) -> CheckMessage:
    patience = PATIENCE[connections.settings[alias]["ENGINE"]]
    return Warning(
        f"DATABASES[{alias!r}] does not say how long {patience.server} waits for a process in the middle of a "
        "transaction. One that is cut off there holds its locks for hours, and nobody writes down what calls used "
        "meanwhile.",
        hint=f'Write "OPTIONS": {{{patience.remedy}}}. If the server or the role has it, silence this check.',
        id="ai_gateway.W128",
    )


@register(TAG, deploy=True)
def check_site(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check what else of the site's settings matters to a gateway, where Django's own checks say nothing of it."""
    messages: list[CheckMessage] = []
    if site.DEBUG:
        messages.append(
            Warning(
                "DEBUG is on: an error page shows callers the variables of a request, prompts among them.",
                hint="Write DEBUG = False.",
                id="ai_gateway.W073",
            )
        )
    if "*" in site.ALLOWED_HOSTS:
        messages.append(
            Warning(
                "ALLOWED_HOSTS lets every Host header in: links that the site writes can be made to lead elsewhere.",
                hint='Write the names that the site has, for example ALLOWED_HOSTS = ["gateway.example.com"].',
                id="ai_gateway.W074",
            )
        )
    return messages


@register(TAG, deploy=True)
def check_middleware(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check the middleware that calls meet which go through the site: all of them, or those from browsers."""
    messages: list[CheckMessage] = []
    if GZIP in site.MIDDLEWARE and django.VERSION < (6, 1):
        messages.append(_gzip())
    limit = site.DATA_UPLOAD_MAX_MEMORY_SIZE
    is_low = limit is not None and is_sound("MAX_BODY_BYTES") and limit < settings.MAX_BODY_BYTES
    for path, middleware in _middleware():
        if not getattr(middleware, "async_capable", False):
            messages.append(_sync_only(path))
        if is_low and not path.startswith(("django.", "corsheaders.")) and reads_body(middleware):
            messages.append(_body_limit(path, limit))
    return messages


def _middleware() -> Iterator[tuple[str, Callable[..., Any]]]:
    for path in site.MIDDLEWARE:
        try:
            yield path, import_string(path)
        except ImportError:
            continue  # Django does not start with it, and says so itself.


def _gzip() -> CheckMessage:
    return Warning(
        "GZipMiddleware delays or garbles event streams before Django 6.1. The gateway keeps "
        "its own streams out of it, by hiding from it what the client accepts; other streams of the site are not safe.",
        hint=f'Remove "{GZIP}" and let the proxy compress, or update to Django 6.1.',
        id="ai_gateway.W062",
    )


def _sync_only(path: str) -> CheckMessage:
    return Warning(
        f"The middleware {path} is synchronous only: every call that goes through the site waits for a "
        f"thread, and there are {settings.DJANGO_THREADS if is_sound('DJANGO_THREADS') else 'few'} of them.",
        hint="Use a version of it with async_capable = True, or remove it. Calls by the direct door do not meet it.",
        id="ai_gateway.W066",
    )


def _body_limit(path: str, limit: int) -> CheckMessage:
    return Warning(
        f"The middleware {path} reads request bodies itself. Django limits that to {limit} bytes "
        "(DATA_UPLOAD_MAX_MEMORY_SIZE) and answers 400 above, though MAX_BODY_BYTES of AI_GATEWAY allows more.",
        hint=f"Let the middleware leave /v1 alone, or write DATA_UPLOAD_MAX_MEMORY_SIZE = {settings.MAX_BODY_BYTES}.",
        id="ai_gateway.W072",
    )


def reads_body(middleware: Callable[..., Any]) -> bool:
    """Whether the code of a middleware mentions `.body`, `.POST` or `.FILES`. Its bytecode tells; nothing is run."""
    classes = middleware.__mro__ if isinstance(middleware, type) else ()
    members = [
        member for each in classes if not each.__module__.startswith("django.") for member in vars(each).values()
    ]
    codes = [getattr(member, "__code__", None) for member in (middleware, *members)]
    return any(_mentions(code) for code in codes if isinstance(code, CodeType))


def _mentions(code: CodeType) -> bool:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return not {"body", "POST", "FILES"}.isdisjoint(code.co_names) or any(map(_mentions, inner))
