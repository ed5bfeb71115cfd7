"""Environment variables, translated into `settings.AI_GATEWAY`.

    # settings.py
    AI_GATEWAY = ai_gateway.environment.from_environ(os.environ)

Importable inside a settings module: nothing here reads Django's settings. Secrets do not enter the settings, where a
debug page or a dump could show them: a provider's credential becomes a reference (`env:OPENAI_API_KEY`), and a gateway
key becomes its SHA-256 digest, which is all that is needed to recognise it.

An empty variable counts as one that is not set, as container tools write it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ai_gateway.providers import CATALOG

TRUE = frozenset(("1", "true", "yes", "on"))
FALSE = frozenset(("0", "false", "no", "off"))

REMOTE = tuple(alias for alias, provider in CATALOG.items() if provider.send is None)
"""The rows of the catalogue that have an address and a credential: all but those that answer by themselves."""

KEY_NAME = re.compile(r"[A-Za-z0-9_.-]+")
REFERENCES = ("sha256:", "env:", "file:")


def from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    """Build `settings.AI_GATEWAY` of what is set. Raises ImproperlyConfigured naming a variable that cannot be read."""
    gateway: dict[str, Any] = {}
    for name, (key, read) in VARIABLES.items():
        value = environ.get(name, "").strip()
        if value:
            gateway[key] = read(name, value)
    providers = read_providers(environ)
    if providers:
        gateway["PROVIDERS"] = providers
    if gateway.get("LIMIT_STORE") == {"BACKEND": "redis"} and (url := environ.get("REDIS_URL", "").strip()):
        gateway["LIMIT_STORE"]["OPTIONS"] = {"url": url}
    return gateway


def read_providers(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Find `<PROVIDER>_API_KEY` and `<PROVIDER>_BASE_URL` of every row in the catalogue, and the like."""
    providers: dict[str, dict[str, Any]] = {}
    for alias in REMOTE:
        options = read_options(alias, environ)
        if options:
            providers[alias] = {"OPTIONS": options}
    return providers


def read_options(alias: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the options of one provider. Its credential is only named."""
    options: dict[str, Any] = {}
    for variable, option in provider_variables(alias).items():
        value = environ.get(variable, "").strip()
        if value:
            options[option] = f"env:{variable}" if option == "api_key" else value
    return options


def provider_variables(alias: str) -> dict[str, str]:
    """Map the environment variables of a provider to its options: `{"OPENAI_API_KEY": "api_key", ...}`."""
    prefix = alias.upper().replace("-", "_")
    options = ("api_key", "base_url", *CATALOG[alias].required_options)
    return {f"{prefix}_{option.upper()}": option for option in options}


def read_text(name: str, value: str) -> str:
    """Take a value as it is."""
    return value


def read_reference(name: str, value: str) -> str:
    """Point to a secret without taking it."""
    return f"env:{name}"


def read_backend(name: str, value: str) -> dict[str, Any]:
    """Take a value for the name of a backend without options."""
    return {"BACKEND": value}


def read_boolean(name: str, value: str) -> bool:
    """Read `1`, `true`, `yes`, `on` or their opposites, in any case."""
    word = value.lower()
    if word not in TRUE | FALSE:
        raise ImproperlyConfigured(f"The environment variable {name} is {value!r}; it must be true or false.")
    return word in TRUE


def read_integer(name: str, value: str) -> int:
    """Read a whole number that is not negative."""
    if not (value.isascii() and value.isdigit()):
        raise ImproperlyConfigured(f"The environment variable {name} is {value!r}; it must be a whole number.")
    return int(value)


def read_seconds(name: str, value: str) -> float:
    """Read a number of seconds, with or without a fraction."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        raise ImproperlyConfigured(f"The environment variable {name} is {value!r}; it must be a number of seconds.")
    return float(value)


def read_list(value: str) -> list[str]:
    """Split a list at its commas; empty items do not count."""
    return [item.strip() for item in value.split(",") if item.strip()]


def read_metrics(name: str, value: str) -> bool | list[str]:
    """Read whether there are metrics, or networks that may read them, separated by commas."""
    return read_boolean(name, value) if value.lower() in TRUE | FALSE else read_list(value)


def read_keys(name: str, value: str) -> dict[str, str]:
    """Read gateway keys, `name=key` or the key alone, separated by commas, into names and references.

    A key may also be given as `sha256:` and its digest in hex, `env:NAME` or `file:/path`.
    """
    keys: dict[str, str] = {}
    for number, item in enumerate(read_list(value), 1):
        key_name, key = split_key(item, number)
        if key_name in keys:
            raise ImproperlyConfigured(f"The environment variable {name} has two keys named {key_name!r}.")
        keys[key_name] = key if key.startswith(REFERENCES) else digest(name, key)
    return keys


def split_key(item: str, number: int) -> tuple[str, str]:
    """Tell a key's name from the key. A key alone is called after its place, and may itself end in `=` signs."""
    key_name, _, key = (part.strip() for part in item.partition("="))
    if key.strip("=") and KEY_NAME.fullmatch(key_name):
        return key_name, key
    return f"key-{number}", item


def digest(name: str, key: str) -> str:
    """Refer to a key by its SHA-256 digest. Raises ImproperlyConfigured for one that no header could carry."""
    if not (key.isascii() and key.isprintable()):
        raise ImproperlyConfigured(f"The environment variable {name} has a key that cannot stand in a header.")
    return f"sha256:{hashlib.sha256(key.encode('ascii')).hexdigest()}"


VARIABLES: Mapping[str, tuple[str, Callable[[str, str], Any]]] = {
    "GATEWAY_API_KEYS": ("KEYS", read_keys),
    "DEFAULT_PROVIDER": ("DEFAULT_PROVIDER", read_text),
    "PASSTHROUGH": ("PASSTHROUGH", read_boolean),
    "ALLOW_PRIVATE_UPSTREAMS": ("ALLOW_PRIVATE_UPSTREAMS", read_boolean),
    "MAX_BODY_BYTES": ("MAX_BODY_BYTES", read_integer),
    "MAX_UPLOAD_BYTES": ("MAX_UPLOAD_BYTES", read_integer),
    "KEEP_ALIVE_INTERVAL": ("KEEP_ALIVE_INTERVAL", read_seconds),
    "DRAIN_TIMEOUT": ("DRAIN_TIMEOUT", read_seconds),
    "DRAIN_DELAY": ("DRAIN_DELAY", read_seconds),
    "METRICS": ("METRICS", read_metrics),
    "METRICS_TOKEN": ("METRICS_TOKEN", read_reference),
    "LIMIT_STORE": ("LIMIT_STORE", read_backend),
    "REQUIRE_PRICE": ("REQUIRE_PRICE", read_text),
    "USAGE_DURABILITY": ("USAGE_DURABILITY", read_text),
    "USAGE_JOURNAL": ("USAGE_JOURNAL", read_text),
}
"""Variables that stand for one key of `settings.AI_GATEWAY` each: the key, and how the value is read."""
