"""`manage.py rungateway`: serve this site and its gateway with uvicorn, set up as a gateway needs it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import math
import os
import secrets
import socket
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from typing import Any

import django
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from ai_gateway import __version__, registry
from ai_gateway.asgi import get_asgi_application
from ai_gateway.conf import settings
from ai_gateway.configuration import Configuration
from ai_gateway.keyring import create, missing_file
from ai_gateway.registry import Snapshot

APPLICATION = f"{__name__}:application"
DEVELOPMENT_KEY = "AI_GATEWAY_DEVELOPMENT_KEY"
"""The variable by which this command hands a development key to its workers. It is in no file and ends with them."""

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which processes that share their metrics know where, for the package that collects them."""

STARTUP_FAILURE = 3
"""uvicorn's exit status for an application that cannot be started."""

PONG_SECONDS = 300
"""Seconds that a caller of a realtime session has to answer a ping."""

WORKER_SECONDS = 30
"""In which a worker that takes another's place must be ready: one that waits for its database takes longer than 5."""

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
KEEP_ALIVE_SECONDS = 75
"""Longer than the idle time of the usual proxies in front, so that it is they who close a connection first."""


def application() -> Any:
    """Make the site's ASGI application, in each worker: `ASGI_APPLICATION` if the settings name one."""
    django.setup(set_prefix=False)
    site: Any = named_application() or get_asgi_application()
    if os.environ.get(DEVELOPMENT_KEY):
        add_development_key()
    return ASGIStaticFilesHandler(site) if serves_static_files() else site


def named_application() -> Any:
    """Import what the `ASGI_APPLICATION` setting names, written with a dot or a colon before the last part."""
    path: str | None = getattr(django_settings, "ASGI_APPLICATION", None)
    return import_string(path.replace(":", ".")) if path else None


def serves_static_files() -> bool:
    """Whether the static files of pages are served, as Django's `runserver` does it: in development."""
    has_files = bool(django_settings.STATIC_URL) and apps.is_installed("django.contrib.staticfiles")
    return django_settings.DEBUG and has_files


def add_development_key() -> None:
    """Let the registry of this process know the development key."""
    if development_key not in registry.SOURCES:
        registry.SOURCES.append(development_key)
    registry.refresh()


def development_key() -> Configuration:
    """Configure the key of a gateway that somebody is only trying out."""
    return Configuration(keys={"development": f"env:{DEVELOPMENT_KEY}"})


def is_unconfigured(snapshot: Snapshot) -> bool:
    """Whether there is neither a gateway key nor a credential of a provider: nothing that a new key could open."""
    no_credential = all(provider.api_key is None for provider in snapshot.providers.values())
    return not snapshot.keys and no_credential and not snapshot.broken and not has_virtual_keys()


def has_virtual_keys() -> bool:
    """Whether there is a virtual key in the database, if that can be told."""
    try:
        return has_database() and rows("VirtualKey").exists()
    except DatabaseError:
        return False


def has_database() -> bool:
    """Whether this site has a database."""
    return bool(connection.settings_dict["ENGINE"]) and connection.vendor != "unknown"


def rows(model: str) -> Any:
    """Give all rows of a model of this app. By its name: workers import this module before there are models."""
    return apps.get_model("ai_gateway", model)._default_manager.all()


class Command(BaseCommand):
    """Prepare the database, say what is configured and how to try it, and serve until stopped."""

    help = "Serve the gateway with uvicorn."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options; HOST, PORT and LOG_LEVEL in the environment are their defaults."""
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="default: HOST or 127.0.0.1")
        parser.add_argument(
            "--port",
            type=port_number,
            default=os.environ.get("PORT") or "3000",
            help="default: PORT or 3000; 0 takes a free one",
        )
        parser.add_argument("--workers", type=worker_count, default=1, help="how many processes serve")
        parser.add_argument("--log-level", choices=LOG_LEVELS, help="default: LOG_LEVEL, or what the settings say")
        parser.add_argument("--no-migrate", action="store_true", help="leave a SQLite database as it is")
        parser.add_argument("--reload", action="store_true", help="start again when a Python file changes")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command."""
        try:
            self.run(**options)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
            sys.exit(130)

    def run(self, *, host: str, port: int, workers: int, reload: bool, no_migrate: bool, **options: Any) -> None:
        """Prepare and serve."""
        require_server()
        if reload and workers > 1:
            raise CommandError("--reload works with one worker only.")
        port = claim(host, port)
        if options["log_level"]:
            set_log_level(options["log_level"])
        if not no_migrate:
            self.prepare_database(options["verbosity"])
        self.prepare_encryption_key()
        snapshot = self.load_configuration()
        self.introduce(snapshot, f"http://{f'[{host}]' if ':' in host else host}:{port}", workers)
        serve(host=host, port=port, workers=workers, reload=reload, log_level=options["log_level"])

    def prepare_database(self, verbosity: int) -> None:
        """Migrate a SQLite database; of any other only say what is missing, for several machines may share it."""
        if not has_database():
            return
        if connection.vendor == "sqlite":
            call_command("migrate", interactive=False, verbosity=max(verbosity - 1, 0))
            return
        try:
            self.check_migrations()
        except DatabaseError as error:
            self.stderr.write(f"The database does not answer, so its migrations were not checked: {error}")

    def prepare_encryption_key(self) -> None:
        """Make the key that encrypts secrets in the database, where the settings name a file for it that is not there
        yet. Not if something is encrypted already: then the right key is missing, and another one would hide that."""
        path = missing_file()
        try:
            if path is None or not has_database() or rows("ProviderCredential").exists() or has_virtual_keys():
                return
            create(path)
        except (DatabaseError, OSError) as error:
            self.stderr.write(f"No encryption key was made: {error}")
            return
        self.stdout.write(f"Made a key that encrypts what the database holds. Keep a copy of {path}.")

    def load_configuration(self) -> Snapshot:
        """Load the configuration; if there is none at all, make a key for trying the gateway out."""
        snapshot = registry.refresh()
        for alias, reason in snapshot.broken.items():
            self.stderr.write(f"The provider {alias!r} is misconfigured and left out: {reason}")
        if is_unconfigured(snapshot):
            os.environ[DEVELOPMENT_KEY] = f"gw_dev_{secrets.token_urlsafe(24)}"
            add_development_key()
        return registry.snapshot()

    def introduce(self, snapshot: Snapshot, origin: str, workers: int) -> None:
        """Print where the gateway listens, what it can reach and how to try it."""
        write = self.stdout.write
        url = origin + settings.PREFIX
        plural = "worker" if workers == 1 else "workers"
        write(self.style.SUCCESS(f"\nAI gateway {__version__} at {url} ({workers} {plural})\n"))
        write(f"Providers for holders of a gateway key:{describe_providers(snapshot)}\n")
        if snapshot.passthrough:
            write("Any other provider: with the caller's own key for it, and the header x-provider.\n")
        if key := os.environ.get(DEVELOPMENT_KEY):
            self.introduce_development_key(key)
        else:
            write(f"Gateway keys: {describe_keys(snapshot)}")
        if path := admin_path():
            write(f"\nAdmin: {origin}{path} (the first time: python manage.py createsuperuser)")
        write(
            f"\nTry it:\n\n{curl_line(url, with_key=bool(snapshot.keys) or has_virtual_keys())}\n\nCtrl-C stops it.\n"
        )
        self.stdout.flush()

    def introduce_development_key(self, key: str) -> None:
        """Show the key, this once, and say how to get beyond it."""
        self.stdout.write(
            "\nNothing is configured yet, so here is a key for trying out. It ends with this process:\n\n"
            f"  export GATEWAY_KEY={key}\n\n"
            "To add a provider, stop this, set its credential and a gateway key of your own, and start again:\n\n"
            "  export OPENAI_API_KEY=...  GATEWAY_API_KEYS=me=gw_$(openssl rand -hex 24)\n\n"
            "Other providers and AI_GATEWAY['PROVIDERS'] in settings: see README.md."
        )


def port_number(value: str) -> int:
    """Read a port."""
    if not value.isdigit() or int(value) > 65535:
        raise ArgumentTypeError(f"{value!r} is not a port.")
    return int(value)


def worker_count(value: str) -> int:
    """Read a number of workers."""
    if not value.isdigit() or not 1 <= int(value) <= 1024:
        raise ArgumentTypeError(f"{value!r} is not a number of workers.")
    return int(value)


def require_server() -> None:
    """Raise CommandError if the packages that serve are not installed."""
    missing = [name for name in ("uvicorn", "uvloop", "httptools") if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(f"Not installed: {', '.join(missing)}. Run: pip install 'django-ai-gateway[server]'")


def claim(host: str, port: int) -> int:
    """See that the port is free before anything else is done, and choose one for 0. Raises CommandError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        reason = error.strerror or error
        raise CommandError(f"Cannot listen on {host} port {port}: {reason}. Choose others: --host, --port.") from error


def set_log_level(level: str) -> None:
    """Apply a level to this process, and to the workers for settings that read LOG_LEVEL."""
    os.environ["LOG_LEVEL"] = level
    logging.getLogger().setLevel(level.upper())


def describe_providers(snapshot: Snapshot) -> str:
    """List the providers that a holder of a gateway key can use, a line for each, by alias and name."""
    return "".join(f"\n  {alias:12} {provider.label}".rstrip() for alias, provider in snapshot.configured.items())


def admin_path() -> str | None:
    """Give the path of the admin, where providers, routes and keys can be configured; None if the site has none."""
    try:
        return reverse("admin:index")
    except NoReverseMatch:
        return None


def describe_keys(snapshot: Snapshot) -> str:
    """List the gateway keys by name, or say how to get one."""
    names = sorted(str(caller.key_name) for caller in snapshot.keys.values())
    if has_virtual_keys():
        names.append("and those in the database" if names else "those in the database")
    return ", ".join(names) or (
        "none, so nobody can use a stored credential. Set GATEWAY_API_KEYS or AI_GATEWAY['KEYS'], or run gateway_key."
    )


def curl_line(url: str, *, with_key: bool) -> str:
    """Write a command that makes the built-in echo provider answer."""
    body = json.dumps({"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hello"}]})
    key = ' -H "Authorization: Bearer $GATEWAY_KEY"' if with_key else ""
    return f"  curl {url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{body}'"


@contextlib.contextmanager
def metrics_directory() -> Iterator[None]:
    """Give the workers a directory to add up their metrics in, if metrics are collected and there is none yet; and
    take it away at the end."""
    if not settings.METRICS or METRICS_DIRECTORY in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ai-gateway-metrics-") as directory:
        os.environ[METRICS_DIRECTORY] = directory
        try:
            yield
        finally:
            del os.environ[METRICS_DIRECTORY]


def serve(*, host: str, port: int, workers: int, reload: bool, log_level: str | None) -> None:
    """Run uvicorn until it is told to stop."""
    import uvicorn

    from ai_gateway.server import DrainingSocket, GatheringProtocol, Server, Supervisor

    options: dict[str, Any] = {
        "factory": True,
        "host": host,
        "port": port,
        "workers": workers,
        "http": GatheringProtocol,
        "ws": DrainingSocket,
        "ws_max_size": settings.MAX_BODY_BYTES,
        # A caller answers a ping when it has taken what was sent before; who takes nothing is noticed by SEND_TIMEOUT.
        "ws_ping_timeout": PONG_SECONDS,
        # Sound does not get smaller, and each compressor holds memory for as long as its session lasts.
        "ws_per_message_deflate": False,
        "loop": "uvloop",
        "lifespan": "on",
        # The site's own LOGGING is in force.
        "log_config": None,
        "log_level": log_level,
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_worker_healthcheck": WORKER_SECONDS,
        # The gateway ends its streams itself when DRAIN_TIMEOUT is over; uvicorn must not be faster.
        "timeout_graceful_shutdown": math.ceil(settings.DRAIN_TIMEOUT) + 1,
    }
    if reload:
        uvicorn.run(APPLICATION, reload=True, **options)
        return
    config = uvicorn.Config(APPLICATION, **options)
    if workers > 1:
        with metrics_directory():
            Supervisor(config, [config.bind_socket()], delay=settings.DRAIN_DELAY).run()
        return
    server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):  # Raised when everything is over, if that was what ended it.
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
