"""The system checks, each with what triggers it. The site that all start from is in order: it triggers none."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import CheckMessage, Error, Warning, run_checks
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path

from ai_gateway import checks, conf, crypto, journal, telemetry
from ai_gateway.checks.settings import RULES
from ai_gateway.checks.usage import journal_directory
from ai_gateway.cors import ALLOW_HEADERS
from ai_gateway.providers import Provider
from ai_gateway.transports import Transport

if TYPE_CHECKING:
    from pytest_django import Settings

ROOT = Path(__file__).resolve().parent.parent
ID = re.compile(r"ai_gateway\.[EW]\d{3}")
SECURITY = "django.middleware.security.SecurityMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
CANARY = "sk-canary-0123456789-0123456789"
"""A secret that must stand in no message."""

GetResponse = Callable[[HttpRequest], HttpResponse]


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


@pytest.fixture
def site(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    return Site(settings, monkeypatch, tmp_path)


def test_a_site_in_order_hears_nothing(site: Site) -> None:
    assert site.ids(deploy=True) == set()


def test_a_site_without_the_setting_hears_nothing(site: Site) -> None:
    del site.settings.AI_GATEWAY
    assert site.ids(deploy=True) == set()


# The catalogue of ids.


def ids_in(*paths: Path) -> set[str]:
    return {found for each in paths for found in ID.findall(each.read_text(encoding="utf-8"))}


IN_CODE = ids_in(*Path(checks.__file__).parent.glob("*.py"))


def test_every_id_is_documented_and_no_other() -> None:
    assert ids_in(ROOT / "docs" / "checks.md") == IN_CODE


def test_every_id_is_tested_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert {name.removeprefix("ai_gateway.") for name in IN_CODE} == set(re.findall(r'"([EW]\d{3})"', text))


def test_every_number_is_used_once() -> None:
    numbers = [name[-3:] for name in IN_CODE]
    assert sorted(numbers) == sorted(set(numbers))


def test_every_key_has_a_rule_with_an_id_of_its_own() -> None:
    assert set(RULES) == conf.KEYS
    assert len({rule.id for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("key", sorted(conf.KEYS))
def test_the_default_and_the_example_of_a_key_keep_its_rule(key: str, settings: Settings) -> None:
    settings.AI_GATEWAY = {}
    # Typed already: their defaults are those of the dataclasses.
    if key not in ("TIMEOUTS", "RETRIES", "QUEUE", "BREAKERS", "BODY_LOGGING", "RESPONSE_CACHE"):
        assert RULES[key].accepts(getattr(conf.settings, key))
    assert RULES[key].accepts(eval(RULES[key].example, {}))


# Keys by themselves.


@pytest.mark.parametrize("value", [None, [], "PROVIDERS", [("PROVIDERS", {})]])
def test_the_setting_must_be_a_dict(site: Site, value: Any) -> None:
    site.settings.AI_GATEWAY = value
    assert site.ids() == {"E001"}


@pytest.mark.parametrize(
    ("name", "meant"), [("PROVIDER", "PROVIDERS"), ("timeouts", "TIMEOUTS"), ("MAX_BODY_SIZE", "MAX_BODY_BYTES")]
)
def test_an_unknown_key_and_the_one_that_was_meant(site: Site, name: str, meant: str) -> None:
    site.gateway(**{name: 1})
    assert site.ids() == {"E002"}
    assert f'"{meant}"' in site.hint()


WRONG_ROUTES: list[Any] = [
    *({"strategy": "best"}, {"sticky": "user"}, {"weights": [1, 2]}, {"weights": [0]}, {"timeouts": {"idle": 0}}),
    *({"continue_streams": 1}, {"ask_to_continue": "yes"}, {"experiment": ""}, {"colour": "red"}),
    *({"cache": True}, {"cache": "yes"}, {"cache_seconds": 0}),
]
WRONG_LISTS_OF_TARGETS: list[Any] = ["openai/m", [], [1], [{}], [{"model": "openai/m"}]]
WRONG_TARGETS: list[Any] = [
    *({"weight": 0}, {"part": "spare"}, {"percent": 101}, {"percent": "5"}, {"conditions": []}),
    *({"timeouts": {"read": 5}}, {"colour": "red"}),
]
NOT_POSITIVE: list[Any] = [0, -1, -0.5, True, "30", None, float("inf"), float("nan")]
WRONG_GUARDRAILS: list[dict[str, Any]] = [
    *({"OPTIONS": []}, {"STAGES": []}, {"STAGES": ["before"]}, {"MODE": "off"}, {"ON_FAILURE": "ignore"}),
    *({"UPLOADS": True}, {"TIMEOUT": 0}, {"WINDOW": 1}, {"DELAY": 0}, {"EVERYWHERE": 1}, {"BYPASS": True}),
]
WRONG: dict[str, tuple[str, list[Any]]] = {
    "PROVIDERS": ("E003", [None, [], "openai", {"openai": "sk-1"}, {"openai": None}, {1: {}}, {"": {}}]),
    "ROUTES": (
        "E004",
        [
            *([], {"fast": "openai/gpt-5"}, {"fast": []}, {"fast": [1]}, {"fast": [""]}, {1: ["openai/m"]}),
            *({"fast": {"targets": each}} for each in WRONG_LISTS_OF_TARGETS),
            *({"fast": {"targets": ["openai/m"], **others}} for others in WRONG_ROUTES),
            *({"fast": {"targets": [{"target": "openai/m", **others}]}} for others in WRONG_TARGETS),
        ],
    ),
    "KEYS": ("E005", [None, ["gw_1"], {"a": None}, {"a": ""}, {"a": b"gw_1"}, {1: "gw_1"}, "gw_1"]),
    "DEFAULT_PROVIDER": ("E006", [None, "", 1, ["openai"]]),
    "PASSTHROUGH": ("E007", [None, 0, 1, "False", "no"]),
    "CLIENT_SECRETS": ("E160", [None, 0, 1, "False", "no"]),
    "UNCOUNTED_WORK": ("E161", [None, 0, 1, "False", "no"]),
    "PREFIX": ("E008", [None, "/", "/ai/", "ai", "//ai", "/a//b", "/a b", "/ä", "/ai?x", "/ai#x", "/%61"]),
    "DIRECT_DOOR": ("E009", [None, 0, "True"]),
    "MAX_BODY_BYTES": ("E010", [*NOT_POSITIVE, 1.5]),
    "MAX_UPLOAD_BYTES": ("E011", [*NOT_POSITIVE, 1.5]),
    "BODY_TIMEOUT": ("E012", NOT_POSITIVE),
    "SEND_TIMEOUT": ("E013", NOT_POSITIVE),
    "MAX_CALLS": ("E110", [None, -1, 1.5, True, False, "1000"]),
    "QUEUE": ("E111", [None, 100, {"size": -1}, {"size": 1.5}, {"seconds": 0}, {"seconds": "2"}, {"length": 5}]),
    "TIMEOUTS": (
        "E014",
        [None, 30, {"connect": 0}, {"connect": True}, {"connect": "5"}, {"read": 5}, {"idle": None}, {"total": -1}],
    ),
    "KEEP_ALIVE_INTERVAL": ("E015", [-1, True, "15", None, float("nan")]),
    "TRANSPORT": ("E016", [None, "pooled", {"BACKEND": 1}, {"OPTIONS": []}, {"NAME": "x"}, {"OPTIONS": {1: 2}}]),
    "ALLOW_PRIVATE_UPSTREAMS": ("E017", [None, 1, ["10.0.0.0/8"]]),
    "DRAIN_TIMEOUT": ("E018", [-1, True, "20", None]),
    "DRAIN_DELAY": ("E059", [-1, True, "5", None]),
    "METRICS": ("E131", [None, 1, "10.0.0.0/8", [], ["everywhere"], ["10.0.0.0/33"], [1], {"networks": []}]),
    "METRICS_TOKEN": ("E019", ["", 1, b"token", ["token"]]),
    "DJANGO_THREADS": ("E020", [*NOT_POSITIVE, 1.5]),
    "ENCRYPTION_KEYS": ("E021", [None, [], "env:KEY", [1], [""], {"env:KEY": 1}]),
    "STORED_REFERENCES": ("E022", [None, "env:*", ["*"], ["OPENAI_API_KEY"], ["file:secrets"], [1]]),
    "STORED_BACKENDS": ("E055", [None, "mysite.*", ["*"], ["*.x"], ["bedrock"], ["my site.x"], [1]]),
    "LIMITS": ("E090", [None, {}, "60", [60], [["key", 60]]]),
    "LIMIT_STORE": (
        "E091",
        [None, "redis", {"NAME": "redis"}, {"BACKEND": 1}, {"OPTIONS": []}, {"ON_FAILURE": "hope"}, {"TIMEOUT": 0}],
    ),
    "PEERS": (
        "E121",
        [
            *(None, "redis://localhost", {"URL": ""}, {"URL": "localhost:6379"}, {"url": "redis://localhost"}),
            *({"OPTIONS": {}}, {"URL": "redis://localhost", "OPTIONS": []}),
        ],
    ),
    "ALERTS": (
        "E137",
        [
            *(None, "ops@example.com", {"mail": []}, {"email": "ops@example.com"}, {"email": ["nobody"]}),
            *({"webhooks": ["https://there"]}, {"webhooks": [{"url": "there"}]}, {"webhooks": [{"secret": "s"}]}),
            *({"webhooks": [{"url": "https://there", "secret": ""}]}, {"events": ["rain"]}, {"every": 0}),
        ],
    ),
    "RESERVED_OUTPUT": ("E092", [*NOT_POSITIVE, 1.5]),
    "RESERVATION_TTL": ("E093", NOT_POSITIVE),
    "TIME_ZONE": ("E094", [None, 1, " ", "Mars/Olympus", "../../etc/passwd", "europe/nowhere"]),
    "USAGE": ("E095", [None, 1, "yes"]),
    "USAGE_DURABILITY": ("E096", [None, True, "fsync"]),
    "USAGE_INTERVAL": ("E097", NOT_POSITIVE),
    "USAGE_QUEUE": ("E098", [*NOT_POSITIVE, 1.5]),
    "USAGE_JOURNAL": ("E099", [None, 1, ["/var/lib"]]),
    "USAGE_STREAM_OPTIONS": ("E100", [None, 0, "no"]),
    "POLL": ("E023", NOT_POSITIVE),
    "GUARDRAILS": (
        "E150",
        [
            None,
            ["secrets"],
            {"secrets": "redaction"},
            {"secrets": {}},
            *({"secrets": {"BACKEND": "redaction", **wrong}} for wrong in WRONG_GUARDRAILS),
        ],
    ),
    "BODY_LOGGING": (
        "E134",
        [
            True,
            ["team-a"],
            {"keys": "team-a"},
            {"routes": [1]},
            {"percent": 101},
            {"max_bytes": 0},
            {"headers": 1},
            {"retention_days": 0},
            {"redact": None},
            {"users": []},
        ],
    ),
    "RESPONSE_CACHE": (
        "E145",
        [
            *(True, "default", {"alias": ""}, {"ttl": 0}, {"ttl": "1h"}, {"scope": "group"}, {"keys": "*"}),
            *({"routes": [1]}, {"max_bytes": 0}, {"tools": 1}, {"only_deterministic": "yes"}, {"encrypt": None}),
            *({"wait": -1}, {"timeout": 0}, {"memory": -1}, {"TTL": 60}),
        ],
    ),
    "BREAKERS": ("E120", [None, 3, {"consecutive": 0}, {"volume": 1.5}, {"percent": 101}, {"open": "30"}, {"shut": 1}]),
    "PROBES": (
        "E125",
        [
            None,
            ["openai"],
            {"providers": "openai"},
            {"providers": [1]},
            {"interval": 0},
            {"timeout": "5"},
            {"on": True},
        ],
    ),
    "RETRIES": ("E029", [None, 3, {"rounds": 0}, {"attempts": 1.5}, {"max_wait": -1}, {"ambiguous": 1}, {"tries": 2}]),
    "CAPABILITIES": (
        "E025",
        ["all", {"openai/*": True}, {"openai/*": {"wings": True}}, {"openai/*": {"images": "no"}}],
    ),
    "PRICES": ("E026", [None, {}, "free", {"openai/*": {"input": 1}}, [1], [["m", 1]]]),
    "REQUIRE_PRICE": ("E027", [None, True, "", "Always", "sometimes", ["never"]]),
}
HOOK = {"url": "https://there", "secret": "s"}
RIGHT: dict[str, list[Any]] = {
    "PROVIDERS": [{}, {"openai": {}}],
    "ROUTES": [
        {},
        {"fast": ("openai/m", "groq/n/o")},
        {
            "fast": {
                "targets": [
                    "openai/m",
                    {"target": "groq/n", "conditions": {"images": False}, "timeouts": {"first_byte": 5}},
                    {"target": "xai/o", "part": "experiment", "percent": 10},
                    {"target": "mistral/p", "part": "mirror", "percent": 5},
                ],
                "weights": [3, 1, 1, 1],
                "strategy": "weighted",
                "sticky": "session",
                "timeouts": {"first_byte": 20},
                "continue_streams": True,
                "ask_to_continue": True,
                "experiment": "spring",
            }
        },
    ],
    "KEYS": [{}],
    "DEFAULT_PROVIDER": ["anthropic"],
    "PASSTHROUGH": [True, False],
    "CLIENT_SECRETS": [True, False],
    "UNCOUNTED_WORK": [True, False],
    "DIRECT_DOOR": [True, False],
    "MAX_BODY_BYTES": [1, 10**12],
    "MAX_UPLOAD_BYTES": [1],
    "BODY_TIMEOUT": [1, 0.5],
    "SEND_TIMEOUT": [1, 0.5],
    "MAX_CALLS": [0, 1, 20_000],
    "QUEUE": [{}, {"size": 0}, {"size": 1000, "seconds": 0.5}],
    "TIMEOUTS": [{}, {"connect": 1, "pool": 0.5, "write": 1, "first_byte": 1, "idle": 1}, {"stream": 0, "total": 0}],
    "KEEP_ALIVE_INTERVAL": [0, 0.5, 15],
    "TRANSPORT": [{}, {"OPTIONS": {"max_connections": 10}}],
    "ALLOW_PRIVATE_UPSTREAMS": [True, False],
    "DRAIN_TIMEOUT": [0, 20.5],
    "DRAIN_DELAY": [0, 5.5],
    "METRICS": [True, False, ["10.0.0.0/8", "127.0.0.1"], ("fd00::/8",)],
    "METRICS_TOKEN": [None, "env:CHECKED_GATEWAY_KEY"],
    "DJANGO_THREADS": [1, 64],
    "ENCRYPTION_KEYS": [["env:OURS", "file:/run/secrets/gateway"], ("env:OURS",)],
    "STORED_REFERENCES": [[], ["env:*", "file:/run/*"]],
    "STORED_BACKENDS": [[], ["mysite.providers.*", "acme.AcmeProvider"]],
    "LIMITS": [[], ({"scope": "user", "measure": "cost", "window": "month", "amount": "20.5"},)],
    "LIMIT_STORE": [{}, {"BACKEND": "memory"}, {"ON_FAILURE": "local", "TIMEOUT": 0.2}],
    "PEERS": [{}, {"URL": "rediss://localhost"}, {"URL": "unix:///run/redis.sock", "OPTIONS": {"prefix": "ours"}}],
    "ALERTS": [{}, {"email": ["ops@example.com"], "webhooks": [HOOK], "events": [], "every": 60}],
    "RESERVED_OUTPUT": [1, 100_000],
    "RESERVATION_TTL": [1, 0.5],
    "TIME_ZONE": ["", "UTC", "Europe/Vienna"],
    "USAGE": [True, False],
    "USAGE_DURABILITY": ["batched", "committed"],
    "USAGE_INTERVAL": [0.1, 5],
    "USAGE_QUEUE": [1],
    "USAGE_JOURNAL": [""],
    "USAGE_STREAM_OPTIONS": [True, False],
    "POLL": [0.5, 30],
    "GUARDRAILS": [
        {},
        {
            "secrets": {
                "BACKEND": "redaction",
                "OPTIONS": {"kinds": ["EMAIL"]},
                "STAGES": ["request"],
                "MODE": "monitor",
                "ON_FAILURE": "pass",
                "UPLOADS": "block",
                "TIMEOUT": 1,
                "WINDOW": 100,
                "DELAY": 0.5,
                "EVERYWHERE": True,
            }
        },
    ],
    "BODY_LOGGING": [None],
    "RESPONSE_CACHE": [
        None,
        {},
        {"ttl": 60, "scope": "everyone", "keys": [], "routes": ("fast",), "max_bytes": 1, "tools": True, "wait": 0},
        {"alias": "default", "only_deterministic": True, "encrypt": False, "timeout": 0.5, "memory": 0},
    ],
    "BREAKERS": [{}, {"consecutive": 1, "volume": 1, "percent": 0.5, "window": 60, "open": 0.5, "longest": 9}],
    "PROBES": [{}, {"providers": []}, {"providers": ("OpenAI", "groq"), "interval": 0.5, "timeout": 1}],
    "RETRIES": [{}, {"rounds": 2, "ambiguous": True, "max_wait": 0, "percent": 0, "least": 0, "attempts": 9}],
    "CAPABILITIES": [{}, {"openai/gpt-9*": {"images": False, "formats": ["openai_chat"], "max_output_tokens": 8192}}],
    "PRICES": [[], (), [{"provider": "openai", "model": "gpt-*", "input": 1, "output": "2.50"}]],
    "REQUIRE_PRICE": ["always", "budgeted", "never"],
}


def test_every_key_is_tried_out() -> None:
    assert conf.KEYS == set(WRONG) == {*RIGHT, "PREFIX"}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (_, values) in WRONG.items() for value in values])
def test_a_key_with_a_wrong_value(site: Site, key: str, value: Any) -> None:
    site.gateway(**{key: value})
    assert site.ids(deploy=True) == {WRONG[key][0]}
    assert f'"{key}": ' in site.hint()


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in RIGHT.items() for value in values])
def test_a_key_with_a_right_value(site: Site, key: str, value: Any) -> None:
    site.gateway(**{key: value})
    assert site.ids(deploy=True) == set()


def test_an_encryption_key_that_is_none(site: Site) -> None:
    site.gateway(ENCRYPTION_KEYS=["not-a-key-but-a-canary"])
    assert site.ids() == {"E024"}
    assert "--generate" in site.hint()


STORED = {"E024", "E080", "E081", "W082", "W083", "W084", "W085", "E086", "E087"}
"""What is said of encryption and of the database; tests/control/test_stored.py tries out the latter."""


ON_MYSQL = {"W088", "W089"}
"""What is said of MySQL and MariaDB; tests/mariadb/test_server.py tries it out."""


def test_what_is_said_of_the_database_is_tried_out_with_one() -> None:
    folder = Path(checks.__file__).parent
    assert {name.removeprefix("ai_gateway.") for name in ids_in(folder / "mysql.py")} == ON_MYSQL
    assert {name.removeprefix("ai_gateway.") for name in ids_in(folder / "database.py")} == STORED
    tried = ids_in(ROOT / "tests" / "control" / "test_stored.py")
    assert {f"ai_gateway.{name}" for name in STORED - {"E024"}} <= tried


# Limits and usage.


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"amount": 60, "scope": "team"}, "scope is 'team'"),
        ({"amount": 60, "colour": "red"}, "unknown key 'colour'"),
        ({"scope": "key"}, "amount is None"),
        ({"amount": 1, "measure": "cost"}, "money is counted by the hour or longer"),
        ({"amount": 1, "time_zone": "Mars/Olympus"}, "is not a time zone"),
        ({"amount": "10000000", "measure": "cost", "window": "month"}, "must be at most 9000000"),
    ],
)
def test_a_limit_that_cannot_be_kept(site: Site, entry: dict[str, Any], problem: str) -> None:
    site.gateway(LIMITS=[{"amount": 60}, entry])
    assert site.ids() == {"E101"}
    (message,) = site.messages()
    assert 'LIMITS"][1]' in message.msg
    assert problem in message.msg


def test_two_limits_of_one_name_would_share_their_counters(site: Site) -> None:
    site.gateway(LIMITS=[{"name": "mine", "amount": 1}, {"name": "yours", "amount": 1}, {"name": "mine", "amount": 2}])
    assert site.ids() == {"E102"}


@pytest.mark.parametrize(
    ("subject", "ids"),
    [("team-b", {"W107"}), ("12", {"W107"}), ("team-a", set()), ("team-*", set()), (12, set()), ("", set())],
)
def test_a_limit_of_a_key_that_is_not_there(site: Site, subject: object, ids: set[str]) -> None:
    limit = {"scope": "key", "subject": subject, "measure": "requests", "window": "day", "amount": 5}
    site.gateway(LIMITS=[limit])
    assert site.ids() == ids
    if ids:
        assert "by its number" in site.hint()


@pytest.mark.parametrize("backend", ["redi", "not.there.Store", "ai_gateway.limits.NotThere", "pathlib.Path"])
def test_a_store_of_limits_that_is_not_there(site: Site, backend: str) -> None:
    site.gateway(LIMIT_STORE={"BACKEND": backend})
    assert site.ids() == {"E103"}


def test_a_store_of_limits__the_one_that_was_meant(site: Site) -> None:
    site.gateway(LIMIT_STORE={"BACKEND": "redi"})
    assert '"redis"' in site.hint()


def test_a_store_of_limits_of_a_third_party(site: Site) -> None:
    site.gateway(LIMIT_STORE={"BACKEND": "ai_gateway.limits.memory.MemoryStore"})
    assert site.ids() == set()


@pytest.mark.parametrize(
    "peers",
    [
        {"URL": "redis://localhost:port"},
        {"URL": "redis://localhost", "OPTIONS": {"timeout": "soon"}},
        {"URL": "redis://localhost", "OPTIONS": {"url": "redis://localhost"}},
    ],
)
def test_peers_over_a_redis_that_cannot_be(site: Site, peers: dict[str, Any]) -> None:
    site.gateway(PEERS=peers)
    assert site.ids() == {"E122"}


def test_peers_without_the_package(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.gateway(PEERS={"URL": "redis://localhost"})
    assert site.ids() == set()
    monkeypatch.setitem(sys.modules, "ai_gateway.peers.redis", None)
    assert site.ids() == {"E123"}
    assert "[redis]" in site.hint()


@pytest.mark.parametrize("secret", ["env:NOBODY_SET_THIS", "file:/nowhere/to/be/found", "whsec_no base64"])
def test_a_webhook_that_cannot_be_signed(site: Site, secret: str) -> None:
    site.gateway(ALERTS={"webhooks": [{"url": "https://there", "secret": secret}]})
    assert site.ids() == {"E138"}


@pytest.mark.parametrize(
    ("webhook", "ids"),
    [
        ({"url": "https://there", "secret": "s"}, set()),
        ({"url": "http://there", "secret": "s"}, {"W139"}),
        ({"url": "https://there"}, {"W139"}),
    ],
)
def test_a_webhook_that_cannot_be_trusted(site: Site, webhook: dict[str, str], ids: set[str]) -> None:
    site.gateway(ALERTS={"webhooks": [webhook]})
    assert site.ids(deploy=True) & {"W139"} == ids


@pytest.mark.parametrize(("workers", "ids"), [("4", {"W104"}), ("1", set()), ("many", set())])
def test_several_workers_that_each_count_for_themselves(site: Site, workers: str, ids: set[str]) -> None:
    site.monkeypatch.setenv("WEB_CONCURRENCY", workers)
    site.gateway(LIMITS=[{"amount": 60}])
    assert site.ids(deploy=True) == ids
    site.gateway(LIMITS=[])
    assert site.ids(deploy=True) == set()


def test_a_journal_among_temporary_files(site: Site) -> None:
    site.gateway(USAGE_JOURNAL=f"{tempfile.gettempdir()}/journal")
    assert site.ids(deploy=True) == {"W105"}
    assert site.ids() == set()
    site.gateway(USAGE=False)
    assert site.ids(deploy=True) == set()


def test_a_journal_of_a_site_that_is_among_temporary_files_itself(site: Site, tmp_path: Path) -> None:
    site.settings.BASE_DIR = tmp_path
    assert site.ids(deploy=True) == set()
    site.gateway(USAGE_JOURNAL=f"{tempfile.gettempdir()}/journal")
    assert site.ids(deploy=True) == {"W105"}


def test_a_journal_of_a_site_without_a_directory_of_its_own(site: Site) -> None:
    del site.settings.BASE_DIR
    assert site.ids(deploy=True) == {"W105"}
    assert journal_directory() == journal.directory().resolve()


def test_a_journal_that_cannot_be_written(site: Site) -> None:
    site.gateway(USAGE_JOURNAL=str(ROOT / "manage.py" / "journal"))
    assert site.ids(deploy=True) == {"W106"}


@pytest.mark.parametrize(
    "value", [{}, {"keys": ["*"], "percent": 0.5, "headers": True, "redact": "json.dumps", "max_bytes": 1}]
)
def test_bodies_that_are_kept(site: Site, value: Any) -> None:
    site.gateway(BODY_LOGGING=value, ENCRYPTION_KEYS=[crypto.generate_key()])
    assert site.ids() == set()


def test_bodies_that_are_kept_for_ever(site: Site) -> None:
    site.gateway(BODY_LOGGING={"retention_days": None}, ENCRYPTION_KEYS=[crypto.generate_key()])
    assert site.ids() == {"W135"}


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"ENCRYPTION_KEYS": ["env:NOT_THERE"]}, "no key to encrypt"),
        ({"BODY_LOGGING": {"redact": "no.such.function"}}, "no.such.function"),
        ({"USAGE": False}, '"USAGE"'),
    ],
)
def test_bodies_that_are_not_kept_although_they_are_wanted(site: Site, others: Any, reason: str) -> None:
    site.gateway(**{"BODY_LOGGING": {}, "ENCRYPTION_KEYS": [crypto.generate_key()], **others})
    assert "W136" in site.ids()
    assert any(reason in message.msg for message in site.messages())


def test_a_cache_of_answers_that_there_is_not(site: Site) -> None:
    site.gateway(RESPONSE_CACHE={"alias": "defualt"})
    assert site.ids() == {"E146"}
    assert '"default"' in site.hint()


def test_a_cache_of_answers_that_keeps_none(site: Site) -> None:
    site.settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    site.gateway(RESPONSE_CACHE={})
    assert site.ids() == {"W147"}


def test_answers_that_are_to_be_encrypted_without_a_key(site: Site) -> None:
    site.gateway(RESPONSE_CACHE={"encrypt": True}, ENCRYPTION_KEYS=["env:NOT_THERE"])
    assert "E148" in site.ids()
    site.gateway(ENCRYPTION_KEYS=[crypto.generate_key()])
    assert site.ids() == set()


def test_more_calls_than_the_system_has_files_for(site: Site) -> None:
    site.gateway(MAX_CALLS=50_000)
    assert site.ids(deploy=True) == {"W112"}
    assert site.ids() == set()
    assert "LimitNOFILE=101000" in next(str(message.hint) for message in site.messages(deploy=True))
    site.gateway(MAX_CALLS=0)
    assert site.ids(deploy=True) == set()


# Providers.


class OwnProvider(Provider):
    """A provider of a third party."""


THIS = __name__


@pytest.mark.parametrize(
    ("alias", "entry"),
    [
        ("mine", {"BACKEND": "openai", "options": {}}),
        ("mine", {"BACKEND": 1}),
        ("mine", {"BACKEND": "openai", "OPTIONS": []}),
        ("a/b", {"BACKEND": "openai"}),
        ("a b", {"BACKEND": "openai"}),
        ("ä", {"BACKEND": "openai"}),
        ("OpenAI", {}),
    ],
)
def test_a_provider_entry_of_the_wrong_shape(site: Site, alias: str, entry: Any) -> None:
    site.gateway(PROVIDERS={"openai": {}, alias: entry})
    assert site.ids() == {"E030"}


@pytest.mark.parametrize(
    "backend", ["opena", "not.there.Provider", "ai_gateway.providers.NotThere", "pathlib.Path", f"{THIS}.Site"]
)
def test_a_provider_backend_that_is_not_there(site: Site, backend: str) -> None:
    site.provider(BACKEND=backend)
    assert site.ids() == {"E031"}


def test_an_alias_that_is_no_provider_needs_a_backend(site: Site) -> None:
    site.provider("opanai")
    assert site.ids() == {"E031"}
    assert '"openai"' in site.hint()


def test_a_provider_of_a_third_party(site: Site) -> None:
    site.provider(BACKEND=f"{THIS}.OwnProvider", OPTIONS={"base_url": "https://api.example/v1"})
    assert site.ids() == set()


@pytest.mark.parametrize("options", [{"api_kee": "env:CHECKED_PROVIDER_KEY"}, {"timeouts": {"read": 5}}])
def test_provider_options_that_it_does_not_know(site: Site, options: Any) -> None:
    site.provider("groq", OPTIONS=options)
    assert site.ids() == {"E032"}


@pytest.mark.parametrize(
    "url", ["api.example/v1", "https://", "ftp://api.example", "https://a b", f"https://me:{CANARY}@h"]
)
def test_a_base_url_that_is_none(site: Site, url: str) -> None:
    site.provider(BACKEND="custom", OPTIONS={"base_url": url})
    assert site.ids() == {"E033"}


def test_a_credential_in_a_file_that_cannot_be_read(site: Site) -> None:
    site.provider("groq", OPTIONS={"api_key": f"file:{site.directory}/missing"})
    assert site.ids() == {"E034"}
    (site.directory / "missing").write_text(CANARY, encoding="utf-8")
    assert site.ids() == set()


def test_a_credential_that_cannot_stand_in_a_header(site: Site) -> None:
    site.provider("groq", OPTIONS={"api_key": f"{CANARY}\né"})
    assert site.ids() == {"E034"}


@pytest.mark.parametrize("value", ["env:CHECKED_UNSET", "", " "])
def test_a_credential_that_is_not_set(site: Site, value: str) -> None:
    site.provider("groq", OPTIONS={"api_key": value})
    assert site.ids() == {"W036"}


@pytest.mark.parametrize(
    "url", ["http://10.1.2.3/v1", "http://localhost:11434/v1", "https://[::1]/v1", "http://169.254.169.254"]
)
def test_a_private_address_must_be_allowed(site: Site, url: str) -> None:
    site.provider(BACKEND="custom", OPTIONS={"base_url": url})
    assert site.ids() == {"E035"}
    assert '"allow_private": True' in site.hint()
    assert "ALLOW_PRIVATE_UPSTREAMS=true" in site.hint()
    site.provider(BACKEND="custom", OPTIONS={"base_url": url, "allow_private": True})
    assert site.ids() == set()
    site.provider(BACKEND="custom", OPTIONS={"base_url": url})
    site.gateway(ALLOW_PRIVATE_UPSTREAMS=True)
    assert site.ids() == set()


def test_a_credential_that_travels_in_the_clear(site: Site) -> None:
    options = {"base_url": "http://api.example/v1", "api_key": "env:CHECKED_PROVIDER_KEY"}
    site.provider(BACKEND="custom", OPTIONS=options)
    assert site.ids() == {"W037"}


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://api.example/v1"},
        {"base_url": "https://api.example/v1", "api_key": "env:CHECKED_PROVIDER_KEY"},
        {"base_url": "http://vllm:8000/v1", "api_key": "env:CHECKED_PROVIDER_KEY"},
        {"base_url": "http://10.1.2.3/v1", "api_key": "env:CHECKED_PROVIDER_KEY", "allow_private": True},
    ],
)
def test_a_credential_that_does_not(site: Site, options: Any) -> None:
    site.provider(BACKEND="custom", OPTIONS=options)
    assert site.ids() == set()


@pytest.mark.parametrize("name", ["opanai", "OpenAI", "fast"])
def test_the_default_provider_must_exist(site: Site, name: str) -> None:
    site.gateway(DEFAULT_PROVIDER=name)
    assert site.ids() == {"E038"}


@pytest.mark.parametrize("alias", ["echo", "bedrock", "Bedrock"])
def test_who_has_nothing_for_free_is_not_probed(site: Site, alias: str) -> None:
    site.gateway(PROBES={"providers": ["openai", alias]})
    assert site.ids() == {"E126"}


def test_a_probe_of_a_provider_that_only_the_database_may_have(site: Site) -> None:
    site.gateway(PROBES={"providers": ["opnai"]})
    assert site.ids() == {"W127"}
    assert "openai" in site.hint()


def test_the_default_provider_may_be_an_own_alias(site: Site) -> None:
    site.provider("Mine", BACKEND="groq")
    site.gateway(DEFAULT_PROVIDER="mine")
    assert site.ids() == set()


@pytest.mark.parametrize("target", ["gpt-5", "openai/", "/gpt-5", "/"])
def test_a_route_target_that_is_no_provider_and_model(site: Site, target: str) -> None:
    site.gateway(ROUTES={"fast": ["openai/gpt-5", target]})
    assert site.ids() == {"E039"}


def test_conditions_of_a_route_target_that_cannot_be_read(site: Site) -> None:
    site.gateway(ROUTES={"fast": {"targets": ["openai/gpt-5", {"target": "groq/x", "conditions": {"images": 1}}]}})
    assert site.ids() == {"E130"}
    assert "'groq/x' cannot be read, so it is left out. images is true or false." in site.messages()[0].msg


def test_a_route_to_an_unknown_provider(site: Site) -> None:
    site.gateway(ROUTES={"fast": ["opanai/gpt-5"]})
    assert site.ids() == {"E040"}
    assert '"openai"' in site.hint()


@pytest.mark.parametrize("name", ["openai", "Groq", "openai/gpt-5"])
def test_a_route_in_the_way_of_a_provider(site: Site, name: str) -> None:
    site.gateway(ROUTES={name: ["openai/gpt-5"]})
    assert site.ids() == {"W041"}


# Secrets.


@pytest.mark.parametrize("digest", ["", "1234", "z" * 64, "0" * 63, "0" * 66])
def test_a_digest_that_is_none(site: Site, digest: str) -> None:
    site.gateway(KEYS={"a": f"sha256:{digest}"})
    assert site.ids() == {"E042"}


def test_a_digest_in_place_of_a_key(site: Site) -> None:
    site.gateway(KEYS={"a": f"sha256:{hashlib.sha256(b'gw_1').hexdigest()}"})
    assert site.ids(deploy=True) == set()


def test_a_key_that_can_be_guessed(site: Site) -> None:
    site.gateway(KEYS={"a": "gw_" + "x" * 16})
    assert site.ids() == {"E043"}
    site.gateway(KEYS={"a": "gw_" + "x" * 17})
    assert site.ids() == set()


def test_a_key_that_two_callers_have(site: Site) -> None:
    digest = hashlib.sha256(f"gw_{CANARY}".encode()).hexdigest()
    site.gateway(KEYS={"a": "env:CHECKED_GATEWAY_KEY", "b": f"sha256:{digest}"})
    assert site.ids() == {"E044"}


@pytest.mark.parametrize(("reference", "id"), [("env:CHECKED_UNSET", "W036"), ("file:/not/there", "E034")])
def test_a_key_or_token_that_cannot_be_read(site: Site, reference: str, id: str) -> None:
    site.gateway(KEYS={"a": reference})
    assert site.ids() == {id}
    site.gateway(KEYS={}, METRICS_TOKEN=reference)
    assert site.ids() == {id}


@pytest.mark.parametrize(
    "keys",
    [
        {"KEYS": {"a": f"gw_{CANARY}-literal"}},
        {"METRICS_TOKEN": f"{CANARY}-literal"},
        {"ENCRYPTION_KEYS": ["env:OURS", "00" * 32]},
        {"PROVIDERS": {"openai": {"OPTIONS": {"api_key": f"{CANARY}-literal"}}}},
    ],
)
def test_a_secret_in_the_settings_is_a_matter_of_deployment(site: Site, keys: Any) -> None:
    site.gateway(**keys)
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W047"}


def test_a_secret_that_the_settings_took_from_the_environment_is_not_in_them(site: Site) -> None:
    site.provider("groq", OPTIONS={"api_key": CANARY})
    assert site.ids(deploy=True) == set()


# Prices.


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"input": 1}, '"model" must be a name'),
        ({"model": "m", "provider": 1, "input": 1}, '"provider" must be a name'),
        ({"model": "m"}, "write 0 for what is free"),
        ({"model": "m", "inptu": 1}, "'inptu'"),
        ({"model": "m", "input": -1}, "input must be 0 or more dollars"),
        ({"model": "m", "tiers": [{"input": 1}]}, '"above" must be a number of tokens'),
    ],
)
def test_a_price_that_says_nothing(site: Site, entry: dict[str, Any], what: str) -> None:
    site.gateway(PRICES=[{"model": "*", "input": 0}, entry])
    (message,) = site.messages()
    assert site.ids() == {"E052"}
    assert 'AI_GATEWAY["PRICES"][1]' in message.msg
    assert what in message.msg


def test_a_price_for_an_unknown_provider(site: Site) -> None:
    site.gateway(PRICES=[{"provider": "opnai", "model": "*", "input": 0}])
    assert site.ids() == {"W053"}
    assert '"openai"' in site.hint()


def test_a_price_is_required_and_nothing_knows_any(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.gateway(REQUIRE_PRICE="always")
    assert site.ids() == set()
    monkeypatch.setattr("ai_gateway.checks.prices.find_spec", lambda name: None)
    assert site.ids() == {"W054"}
    assert "django-ai-gateway[prices]" in site.hint()


# Transport and URLs.


class OwnTransport(Transport):
    """A transport of a third party, with an option that it must have."""

    def __init__(self, *, region: str) -> None:
        self.region = region


@pytest.mark.parametrize("backend", ["pooled", "not.there.Transport", "pathlib.Path"])
def test_a_transport_that_is_not_there(site: Site, backend: str) -> None:
    site.gateway(TRANSPORT={"BACKEND": backend})
    assert site.ids() == {"E048"}


@pytest.mark.parametrize(
    "transport",
    [
        {"OPTIONS": {"max_conections": 1}},
        {"BACKEND": "ai_gateway.transports.httpx.HttpxTransport", "OPTIONS": {"http3": True}},
        {"BACKEND": f"{THIS}.OwnTransport"},
    ],
)
def test_transport_options_that_it_does_not_take(site: Site, transport: Any) -> None:
    site.gateway(TRANSPORT=transport)
    assert site.ids() == {"E049"}


def test_a_transport_of_a_third_party(site: Site) -> None:
    site.gateway(TRANSPORT={"BACKEND": f"{THIS}.OwnTransport", "OPTIONS": {"region": "eu"}})
    assert site.ids() == set()


def page(request: HttpRequest) -> HttpResponse:
    """A page of the site."""
    return HttpResponse("a page")


def test_urls_that_are_not_included(site: Site) -> None:
    site.urls(path("page", page))
    assert site.ids() == {"E050"}
    assert 'path("", include("ai_gateway.urls"))' in site.hint()


def test_urls_behind_a_pattern_that_catches_everything(site: Site) -> None:
    site.urls(re_path(r"^.*$", page), path("", include("ai_gateway.urls")))
    assert site.ids() == {"E050"}


def test_urls_elsewhere_than_the_prefix_says(site: Site) -> None:
    site.urls(path("ai/", include("ai_gateway.urls")))
    assert site.ids() == {"E050"}
    assert '"PREFIX": "/ai"' in site.hint()
    site.gateway(PREFIX="/ai")
    assert site.ids() == set()


def test_urls_that_are_the_sites_only_ones(site: Site) -> None:
    site.settings.ROOT_URLCONF = "ai_gateway.urls"
    assert site.ids() == set()


def test_atomic_requests_and_asynchronous_views(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from ai_gateway import views

    site.database(ATOMIC_REQUESTS=True)
    monkeypatch.setattr(views.api, "_non_atomic_requests", set(), raising=False)
    assert site.ids() == {"E051"}
    monkeypatch.setattr(views.api, "_non_atomic_requests", {"default"})
    assert site.ids() == set()


# CORS.


def allow_origins(site: Site, **options: Any) -> None:
    site.settings.MIDDLEWARE = [SECURITY, CORS, COMMON]
    site.settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
    site.settings.CORS_ALLOW_HEADERS = ALLOW_HEADERS
    for name, value in options.items():
        setattr(site.settings, name, value)


def test_cors_as_it_should_be(site: Site) -> None:
    allow_origins(site)
    assert site.ids(deploy=True) == set()


def test_origins_without_the_middleware(site: Site) -> None:
    allow_origins(site, MIDDLEWARE=[SECURITY, COMMON])
    assert site.ids() == {"W067"}


def test_the_cors_middleware_behind_common_middleware(site: Site) -> None:
    allow_origins(site, MIDDLEWARE=[SECURITY, COMMON, CORS])
    assert site.ids() == {"W068"}


def test_every_origin_with_credentials(site: Site) -> None:
    allow_origins(site, CORS_ALLOW_ALL_ORIGINS=True)
    assert site.ids() == set()
    site.settings.CORS_ALLOW_CREDENTIALS = True
    assert site.ids() == {"W069"}


def test_headers_that_sdks_in_a_browser_send(site: Site) -> None:
    allow_origins(site, CORS_ALLOW_HEADERS=["authorization", "content-type"])
    assert site.ids() == {"W070"}
    del site.settings.CORS_ALLOW_HEADERS
    assert site.ids() == {"W070"}


def test_cors_for_other_paths_is_not_our_business(site: Site) -> None:
    allow_origins(site, CORS_ALLOW_HEADERS=["authorization"], CORS_URLS_REGEX=r"^/api/.*$")
    assert site.ids() == set()


# The site around the gateway.


@pytest.mark.parametrize(("module", "id"), [("httptools", "W060"), ("uvloop", "W061")])
def test_a_library_of_the_server_that_is_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch, module: str, id: str
) -> None:
    monkeypatch.setattr(checks.deployment, "_is_installed", lambda name: name != module)
    assert site.ids() == set()
    assert site.ids(deploy=True) == {id}


def test_uvloop_is_missed_only_under_uvicorn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.deployment, "_is_installed", lambda name: name not in ("uvloop", "uvicorn"))
    assert site.ids(deploy=True) == set()


@pytest.mark.parametrize(("version", "ids"), [((5, 2, 19), {"W062"}), ((6, 0, 5), {"W062"}), ((6, 1, 0), set())])
def test_gzip_middleware_before_it_could_stream(
    site: Site, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], ids: set[str]
) -> None:
    monkeypatch.setattr("django.VERSION", version)
    site.settings.MIDDLEWARE = [GZIP, COMMON]
    assert site.ids() == set()
    assert site.ids(deploy=True) == ids


@pytest.mark.parametrize("seconds", [600, None])
def test_database_connections_that_outlive_a_request(site: Site, seconds: int | None) -> None:
    site.database(CONN_MAX_AGE=seconds)
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W063"}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("postgresql", {}),
        ("postgresql", {"options": "-c statement_timeout=5s"}),
        ("postgresql", {"pool": True}),
        ("mysql", {}),
        ("mysql", {"init_command": "SET SESSION innodb_lock_wait_timeout = 10"}),
    ],
)
def test_a_server_that_waits_for_a_lost_process(site: Site, kind: str, options: dict[str, Any]) -> None:
    site.database(ENGINE=f"django.db.backends.{kind}", OPTIONS=options)
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W128"}


@pytest.mark.parametrize("variable", ["idle_transaction_timeout", "wait_timeout"])
def test_a_mysql_server_that_is_told_how_long_to_wait(site: Site, variable: str) -> None:
    site.database(ENGINE="django.db.backends.mysql", OPTIONS={"init_command": f"SET SESSION {variable} = 15"})
    assert site.ids(deploy=True) == set()


def test_sqlite(site: Site) -> None:
    site.database(ENGINE="django.db.backends.sqlite3")
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W065"}


class SynchronousOnly:
    """An old middleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)


def function_middleware(get_response: GetResponse) -> GetResponse:
    """A middleware that is a function, which is synchronous unless it says otherwise."""
    return get_response


class ReadsBodies:
    """A middleware that signs or logs what comes in."""

    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request) if self.look(request) else HttpResponse(status=400)

    def look(self, request: HttpRequest) -> bool:
        return any(len(part) for part in [request.body])


class InheritsReading(ReadsBodies):
    """Reads them in the class above."""


@pytest.mark.parametrize("name", ["SynchronousOnly", "function_middleware"])
def test_a_middleware_that_needs_a_thread_for_every_call(site: Site, name: str) -> None:
    site.settings.MIDDLEWARE = [COMMON, f"{THIS}.{name}"]
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W066"}


def test_a_middleware_that_cannot_be_imported_is_djangos_business(site: Site) -> None:
    site.settings.MIDDLEWARE = [COMMON, "not.there.Middleware"]
    assert site.ids(deploy=True) == set()


@pytest.mark.parametrize("name", ["ReadsBodies", "InheritsReading"])
def test_a_middleware_that_reads_bodies_django_refuses(site: Site, name: str) -> None:
    site.settings.MIDDLEWARE = [COMMON, f"{THIS}.{name}"]
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W072"}
    site.settings.DATA_UPLOAD_MAX_MEMORY_SIZE = conf.settings.MAX_BODY_BYTES
    assert site.ids(deploy=True) == set()
    site.settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    assert site.ids(deploy=True) == set()


def test_djangos_own_middleware_reads_no_body_of_a_call(site: Site) -> None:
    site.settings.MIDDLEWARE = [COMMON, "django.middleware.csrf.CsrfViewMiddleware"]
    assert site.ids(deploy=True) == set()


def test_an_asgi_module_without_the_direct_door(site: Site) -> None:
    site.asgi("from django.core.asgi import get_asgi_application\n")
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W071"}


def test_an_asgi_module_is_looked_for_beside_the_wsgi_module(site: Site) -> None:
    site.settings.ASGI_APPLICATION = None
    site.settings.WSGI_APPLICATION = "checked_site.wsgi.application"
    assert site.ids(deploy=True) == set()
    site.settings.WSGI_APPLICATION = "checked_site_without.wsgi.application"
    assert site.ids(deploy=True) == {"W071"}


def test_an_asgi_module_is_looked_for_beside_the_urls(site: Site) -> None:
    site.settings.ASGI_APPLICATION = site.settings.WSGI_APPLICATION = None
    site.settings.ROOT_URLCONF = "checked_site.urls"
    (site.directory / "checked_site" / "urls.py").write_text(
        "from ai_gateway.urls import urlpatterns\n", encoding="utf-8"
    )
    assert site.ids(deploy=True) == set()


def test_debug(site: Site) -> None:
    site.settings.DEBUG = True
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W073"}


# Telemetry.


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Have a package not be installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None if name.startswith(package) else find(name))


def test_metrics_without_their_package(site: Site) -> None:
    site.gateway(METRICS=True)
    assert site.ids() == set()
    without(site.monkeypatch, "prometheus_client")
    assert site.ids() == {"W132"}
    site.gateway(METRICS=False)
    assert site.ids() == set()


def test_traces_without_their_packages(site: Site) -> None:
    site.monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    assert site.ids() == set()
    site.monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert site.ids() == {"W132"}
    site.monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL")
    without(site.monkeypatch, "opentelemetry.exporter")
    assert site.ids() == {"W132"}


def test_telemetry_of_a_site_that_writes_nothing_down(site: Site) -> None:
    site.gateway(METRICS=True, USAGE=False)
    assert site.ids() == {"W133"}
    site.gateway(METRICS=False, USAGE=False)
    assert site.ids() == set()
    site.monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    assert site.ids() == {"W133"}


def test_the_example_project_in_production_hears_of_sqlite_alone() -> None:
    environment = {
        **{"PATH": os.environ["PATH"], "SECRET_KEY": hashlib.sha512(b"x").hexdigest(), "HTTPS": "1"},
        **{"ALLOWED_HOSTS": "gateway.example", "CORS_ALLOWED_ORIGINS": "https://app.example"},
        **{"OPENAI_API_KEY": CANARY, "GATEWAY_API_KEYS": f"team-a=gw_{CANARY}", "METRICS_TOKEN": CANARY},
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert re.findall(r"\((\w+\.[A-Z]\d+)\)", done.stderr) == ["ai_gateway.W065"], done.stderr


def test_every_host_header(site: Site) -> None:
    site.settings.ALLOWED_HOSTS = ["*"]
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W074"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"BACKEND": "no.such.function"}, "No module"),
        ({"BACKEND": "os.nothing"}, "nothing"),
        ({"BACKEND": "secrecy"}, "neither a dotted path"),
        ({"BACKEND": "os.sep"}, "neither a Guardrail nor"),
        ({"BACKEND": "redaction", "OPTIONS": {"kinds": ["SHOE_SIZE"]}}, "SHOE_SIZE"),
        ({"BACKEND": "redaction", "OPTIONS": {"kind": ["EMAIL"]}}, "kind"),
        ({"BACKEND": "patterns", "OPTIONS": {"deny": ["("]}}, "not a regular expression"),
        ({"BACKEND": "patterns", "OPTIONS": {"deny": ["(a+)+b"]}}, "too long"),
        ({"BACKEND": "size"}, "no limit"),
    ],
)
def test_a_guardrail_that_cannot_be_had(site: Site, entry: dict[str, Any], said: str) -> None:
    site.gateway(GUARDRAILS={"mine": entry})
    assert site.ids() == {"E151"}
    assert said in site.messages()[0].msg


def test_a_route_with_a_guardrail_that_there_is_not(site: Site) -> None:
    site.gateway(ROUTES={"fast": {"targets": ["openai/m"], "guardrails": ["gone"]}})
    assert site.ids() == {"E152"}
    assert "'gone'" in site.messages()[0].msg
