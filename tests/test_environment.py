"""Environment variables become settings, and no secret becomes one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from ai_gateway import conf, registry
from ai_gateway.environment import REMOTE, VARIABLES, from_environ, provider_variables
from ai_gateway.providers import CATALOG
from example_project import database, secret_key
from tests.variables import variable_names

ROOT = Path(__file__).resolve().parent.parent


def sha256(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


# from_environ


def test_nothing_set__is_nothing_configured() -> None:
    assert from_environ({}) == {}


def test_empty_variables__count_as_not_set() -> None:
    assert from_environ(dict.fromkeys(variable_names(), " ")) == {}


def test_foreign_variables__are_left_alone() -> None:
    assert from_environ({"NOBODY_API_KEY": "x", "PATH": "/bin", "API_KEY": "y"}) == {}


@pytest.mark.parametrize("alias", REMOTE)
def test_provider__is_found_by_its_variables(alias: str) -> None:
    """Each row of the catalogue has `<PROVIDER>_API_KEY` and `<PROVIDER>_BASE_URL`."""
    prefix = alias.upper()
    environ = {f"{prefix}_API_KEY": "sk-secret", f"{prefix}_BASE_URL": "https://api.example/v1"}
    options = from_environ(environ)["PROVIDERS"][alias]["OPTIONS"]
    assert options == {"api_key": f"env:{prefix}_API_KEY", "base_url": "https://api.example/v1"}


def test_provider__variables_do_not_overlap() -> None:
    names = variable_names()
    assert len(names) == len(set(names))


def test_provider__options_are_fields_of_the_provider() -> None:
    """The names that variables are made of are those that OPTIONS take."""
    for alias in REMOTE:
        provider = CATALOG[alias]
        for option in provider_variables(alias).values():
            assert hasattr(provider, option), (alias, option)


def test_secrets__do_not_enter_the_settings() -> None:
    environ = {
        "GATEWAY_API_KEYS": "team=secret-one,secret-two",
        "METRICS_TOKEN": "secret-three",
        "OPENAI_API_KEY": "secret-four",
    }
    assert "secret" not in str(from_environ(environ))


def test_references__are_resolved_by_the_registry(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """What is written here is read there: a key opens the gateway, and a provider has its credential."""
    environ = {"GATEWAY_API_KEYS": "team=gw_secret", "GROQ_API_KEY": "gsk-secret"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings.AI_GATEWAY = from_environ(environ)
    snapshot = registry.refresh()
    assert snapshot.keys[hashlib.sha256(b"gw_secret").digest()].key_name == "team"
    credential = snapshot.providers["groq"].api_key
    assert credential is not None
    assert credential.reveal() == "gsk-secret"


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("gw_one", {"key-1": sha256("gw_one")}),
        ("gw_one, gw_two ,", {"key-1": sha256("gw_one"), "key-2": sha256("gw_two")}),
        ("team-a=gw_one,gw_two", {"team-a": sha256("gw_one"), "key-2": sha256("gw_two")}),
        ("c2VjcmV0==", {"key-1": sha256("c2VjcmV0==")}),
        ("team=c2VjcmV0==", {"team": sha256("c2VjcmV0==")}),
        (f"team={sha256('x')}", {"team": sha256("x")}),
        ("team=env:TEAM_KEY,ops=file:/run/secrets/ops", {"team": "env:TEAM_KEY", "ops": "file:/run/secrets/ops"}),
    ],
)
def test_keys(value: str, keys: dict[str, str]) -> None:
    assert from_environ({"GATEWAY_API_KEYS": value})["KEYS"] == keys


@pytest.mark.parametrize("value", ["a=one-secret,a=two-secret", "a=s\u00e9cret", "a=sec\tret"])
def test_keys__that_cannot_be__are_refused_without_being_shown(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="GATEWAY_API_KEYS") as caught:
        from_environ({"GATEWAY_API_KEYS": value})
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("PASSTHROUGH", "No", False),
        ("PASSTHROUGH", "1", True),
        ("ALLOW_PRIVATE_UPSTREAMS", "true", True),
        ("DEFAULT_PROVIDER", "groq", "groq"),
        ("MAX_BODY_BYTES", "1000", 1000),
        ("MAX_UPLOAD_BYTES", "2000", 2000),
        ("KEEP_ALIVE_INTERVAL", "0", 0.0),
        ("DRAIN_TIMEOUT", "2.5", 2.5),
        ("DRAIN_DELAY", "5", 5.0),
        ("METRICS_TOKEN", "anything", "env:METRICS_TOKEN"),
        ("METRICS", "on", True),
        ("METRICS", "10.0.0.0/8, ::1", ["10.0.0.0/8", "::1"]),
    ],
)
def test_values(name: str, value: str, setting: object) -> None:
    assert from_environ({name: value}) == {VARIABLES[name][0]: setting}


@pytest.mark.parametrize(
    ("name", "value"),
    [("PASSTHROUGH", "maybe"), ("MAX_BODY_BYTES", "-1"), ("MAX_BODY_BYTES", "32M"), ("DRAIN_TIMEOUT", "soon")],
)
def test_values__that_cannot_be_read__name_the_variable(name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=name):
        from_environ({name: value})


def test_redis__limits_are_counted_where_the_url_says() -> None:
    environ = {"LIMIT_STORE": "redis", "REDIS_URL": " redis://cache:6379/0 "}
    assert from_environ(environ)["LIMIT_STORE"] == {"BACKEND": "redis", "OPTIONS": {"url": "redis://cache:6379/0"}}


@pytest.mark.parametrize("environ", [{"REDIS_URL": "redis://cache:6379/0"}, {"LIMIT_STORE": "redis", "REDIS_URL": ""}])
def test_redis__url_alone_or_empty__chooses_nothing(environ: dict[str, str]) -> None:
    assert "OPTIONS" not in from_environ(environ).get("LIMIT_STORE", {})


def test_redis__limits_that_are_counted_elsewhere__stay_there() -> None:
    environ = {"LIMIT_STORE": "database", "REDIS_URL": "redis://cache:6379/0"}
    assert from_environ(environ)["LIMIT_STORE"] == {"BACKEND": "database"}


def test_variables__stand_for_settings_that_exist() -> None:
    assert {key for key, _ in VARIABLES.values()} <= conf.KEYS


# The example project


def evaluate_settings(expression: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Evaluate an expression over the example project's settings, in a process of its own, and print it as JSON."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json; from example_project import settings as s; print(json.dumps({expression}))",
        ],
        cwd=ROOT,
        env={"SECRET_KEY": "x" * 50, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


REDIS = "redis://cache:6379/0"
ORIGINS = ["https://a.example", "https://b.example"]
CORS_NAMES = "[s.CORS_ALLOW_ALL_ORIGINS, hasattr(s, 'CORS_ALLOW_CREDENTIALS')]"


@pytest.mark.parametrize(
    ("expression", "environ", "value"),
    [
        ("s.DEBUG", {}, False),
        ("s.DEBUG", {"DEBUG": "1"}, True),
        ("s.ALLOWED_HOSTS", {}, ["localhost", "127.0.0.1", "[::1]"]),
        ("s.ALLOWED_HOSTS", {"ALLOWED_HOSTS": "a.example, b.example"}, ["a.example", "b.example"]),
        ("'corsheaders' in s.INSTALLED_APPS", {}, False),
        ("s.CORS_ALLOWED_ORIGINS", {"CORS_ALLOWED_ORIGINS": ",".join(ORIGINS)}, ORIGINS),
        (CORS_NAMES, {"CORS_ALLOWED_ORIGINS": "*"}, [True, False]),
        ("s.MIDDLEWARE[0]", {"CORS_ALLOWED_ORIGINS": "*"}, "corsheaders.middleware.CorsMiddleware"),
        ("s.CACHES['default']['LOCATION']", {"REDIS_URL": "redis://cache:6379/0"}, "redis://cache:6379/0"),
        ("s.AI_GATEWAY['LIMIT_STORE']", {"REDIS_URL": REDIS}, {"BACKEND": "redis", "OPTIONS": {"url": REDIS}}),
        (
            "s.AI_GATEWAY['LIMIT_STORE']",
            {"REDIS_URL": REDIS, "LIMIT_STORE": "redis"},
            {"BACKEND": "redis", "OPTIONS": {"url": REDIS}},
        ),
        ("s.AI_GATEWAY['LIMIT_STORE']", {"REDIS_URL": REDIS, "LIMIT_STORE": "memory"}, {"BACKEND": "memory"}),
        ("s.LOGGING['root']['level']", {"LOG_LEVEL": "debug"}, "DEBUG"),
        ("s.SECURE_SSL_REDIRECT", {"HTTPS": "yes"}, True),
        ("s.AI_GATEWAY['PASSTHROUGH']", {"PASSTHROUGH": "no", "PATH": "/bin"}, False),
    ],
)
def test_example_settings(expression: str, environ: dict[str, str], value: object) -> None:
    done = evaluate_settings(expression, environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == value


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DEBUG": "perhaps"}, "DEBUG is 'perhaps'; it must be true or false"),
        ({"LOG_LEVEL": "verbose"}, "LOG_LEVEL is 'verbose'; it must be debug, info, warning, error or critical."),
        ({"GATEWAY_LOG_FORMAT": "xml"}, "GATEWAY_LOG_FORMAT is 'xml'; it must be line, json or key-value."),
    ],
)
def test_example_settings__name_a_variable_that_cannot_be_read(environ: dict[str, str], message: str) -> None:
    assert message in evaluate_settings("s.DEBUG", environ).stderr


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///db.sqlite3", {"ENGINE": "django.db.backends.sqlite3", "NAME": Path("/base/db.sqlite3")}),
        ("sqlite:////var/lib/gw/db.sqlite3", {"NAME": Path("/var/lib/gw/db.sqlite3")}),
        ("sqlite://:memory:", {"NAME": ":memory:"}),
        (
            "postgres://me:p%40ss@db.example:5433/gateway?sslmode=require",
            {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "gateway",
                "USER": "me",
                "PASSWORD": "p@ss",
                "HOST": "db.example",
                "PORT": "5433",
                "OPTIONS": {
                    "options": "-c idle_in_transaction_session_timeout=15s",
                    "sslmode": "require",
                    "pool": {"min_size": 1, "max_size": 10},
                },
            },
        ),
        ("postgresql:///gateway", {"NAME": "gateway", "HOST": "", "PORT": ""}),
        (
            "mysql://me:p%40ss@db.example:3307/gateway?ssl_mode=REQUIRED",
            {
                "ENGINE": "django.db.backends.mysql",
                "NAME": "gateway",
                "USER": "me",
                "PASSWORD": "p@ss",
                "HOST": "db.example",
                "PORT": "3307",
                "OPTIONS": {
                    "charset": "utf8mb4",
                    "isolation_level": "read committed",
                    "connect_timeout": 10,
                    "init_command": "SET /*M! SESSION idle_transaction_timeout = 15, */ "
                    "SESSION innodb_lock_wait_timeout = 10",
                    "ssl_mode": "REQUIRED",
                },
            },
        ),
        ("mariadb://localhost/gateway", {"ENGINE": "django.db.backends.mysql", "HOST": "localhost"}),
    ],
)
def test_database_url(url: str, expected: dict[str, Any]) -> None:
    found = database.parse(url, Path("/base"))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    "url", ["oracle://u:secret@h/db", "mysql://u:secret@h/", "postgres://u:secret@h:port/db", "sqlite://", "db.sqlite3"]
)
def test_database_url__of_no_use__is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as caught:
        database.parse(url, Path("/base"))
    assert "secret" not in str(caught.value)


def test_secret_key__is_random_private_and_kept(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    key = secret_key.read_or_create(first)
    assert len(key) >= 50
    assert secret_key.read_or_create(first) == key
    assert secret_key.read_or_create(second) != key
    assert first.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_secret_key__of_a_faster_process_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("theirs")
    secret_key.create(path)
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_secret_key__that_cannot_be_kept__must_be_set(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="Set SECRET_KEY"):
        secret_key.read_or_create(tmp_path / "no-such-folder" / "key")
