"""Settings (and whatever other sources there are) become one immutable `Snapshot`; calls are served from that alone.

A source is a function that gives a `Configuration`. They are merged in the order of `SOURCES`, later ones winning, so
that a source which reads the database can stand after the settings without anything else changing. A call keeps the
snapshot that it began with; `refresh()` puts a new one in place for the calls that come after.

What is broken in one provider does not take the others down: it is left out, logged, and named in `broken`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ai_gateway.calls import Caller, Target, Timeouts
from ai_gateway.capabilities import CapabilityTable, Rule, read_rule
from ai_gateway.conf import settings
from ai_gateway.credentials import Secret, resolve
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.providers import CATALOG, Provider, build_provider

logger = logging.getLogger("ai_gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What one source says. The shapes are those of `settings.AI_GATEWAY`."""

    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    routes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a call needs to know of the configuration, ready for use."""

    providers: Mapping[str, Provider]
    broken: Mapping[str, str]
    """Providers that could not be built, with the reason: for the operator, not for callers."""
    routes: Mapping[str, tuple[Target, ...]]
    keys: Mapping[bytes, Caller] = field(repr=False)
    """The callers that hold a gateway key, by the SHA-256 digest of the key."""
    capabilities: CapabilityTable
    """What each model can do."""
    carrier: Carrier = field(repr=False)
    """Seals what a provider wants back in a later turn, for a caller to carry."""
    default_provider: str
    passthrough: bool
    timeouts: Timeouts
    keep_alive_interval: float | None
    max_body_bytes: int
    max_upload_bytes: int
    body_timeout: float
    metrics_token: Secret | None = field(repr=False)

    @property
    def configured(self) -> dict[str, Provider]:
        """The providers that can serve a caller with a gateway key and that somebody chose to set up."""
        return {alias: provider for alias, provider in self.providers.items() if provider.is_configured}


def from_settings() -> Configuration:
    """Read the configuration of `settings.AI_GATEWAY`."""
    return Configuration(providers=settings.PROVIDERS, routes=settings.ROUTES, keys=settings.KEYS)


SOURCES: list[Callable[[], Configuration]] = [from_settings]

_snapshot: Snapshot | None = None


def snapshot() -> Snapshot:
    """Give the snapshot in force, built when it is first asked for."""
    return _snapshot or refresh()


def refresh() -> Snapshot:
    """Build a snapshot anew and put it in force. If that fails the old one stays, and the error is raised."""
    global _snapshot
    _snapshot = build([source() for source in SOURCES])
    return _snapshot


def forget(*, setting: str, **_: object) -> None:
    """Receive Django's `setting_changed`, so that `override_settings` works."""
    global _snapshot
    if setting == "AI_GATEWAY":
        _snapshot = None


def build(configurations: Sequence[Configuration]) -> Snapshot:
    """Merge configurations into a snapshot."""
    entries = {alias.lower(): entry for each in configurations for alias, entry in each.providers.items()}
    providers, broken = build_providers(entries)
    return Snapshot(
        providers=providers,
        broken=broken,
        routes={name: read_targets(route) for each in configurations for name, route in each.routes.items()},
        keys=read_keys({name: key for each in configurations for name, key in each.keys.items()}),
        capabilities=CapabilityTable(read_capabilities(settings.CAPABILITIES)),
        carrier=Carrier(settings.carrier_keys()),
        default_provider=settings.DEFAULT_PROVIDER,
        passthrough=settings.PASSTHROUGH,
        timeouts=settings.TIMEOUTS,
        keep_alive_interval=settings.KEEP_ALIVE_INTERVAL or None,
        max_body_bytes=settings.MAX_BODY_BYTES,
        max_upload_bytes=settings.MAX_UPLOAD_BYTES,
        body_timeout=settings.BODY_TIMEOUT,
        metrics_token=resolve(settings.METRICS_TOKEN) if settings.METRICS_TOKEN else None,
    )


def build_providers(entries: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Provider], dict[str, str]]:
    """Build every provider: the rows of the catalogue, and over them what is configured. Also tell which are broken."""
    providers: dict[str, Provider] = dict(CATALOG)
    broken: dict[str, str] = {}
    for alias, entry in entries.items():
        try:
            providers[alias] = build_provider(alias, entry)
        except (ValueError, TypeError, ImportError, OSError) as error:
            providers.pop(alias, None)
            broken[alias] = str(error)
            logger.error("The provider %r is misconfigured and left out: %s", alias, error)
    if settings.ALLOW_PRIVATE_UPSTREAMS:
        providers = {alias: provider.with_options({"allow_private": True}) for alias, provider in providers.items()}
    return providers, broken


def read_targets(route: Sequence[str]) -> tuple[Target, ...]:
    """Read a route's targets, each written as "provider/model"."""
    return tuple(Target(provider.lower(), model) for provider, _, model in (target.partition("/") for target in route))


def read_capabilities(overrides: Mapping[str, Mapping[str, Any]]) -> list[Rule]:
    """Read what the settings say of models. A row that cannot be read is logged and left out."""
    rules = []
    for pattern, columns in overrides.items():
        try:
            rules.append(read_rule(pattern, columns))
        except ValueError as error:
            logger.error("A row of CAPABILITIES is left out: %s", error)
    return rules


def read_keys(keys: Mapping[str, str]) -> dict[bytes, Caller]:
    """Read gateway keys into callers by digest. A key that cannot be read is logged and left out."""
    found: dict[bytes, Caller] = {}
    for name, reference in keys.items():
        try:
            key = digest(reference)
        except (ValueError, OSError) as error:
            logger.error("The gateway key %r cannot be read and is left out: %s", name, error)
            continue
        if key is not None:
            found[key] = Caller(key_name=name)
    return found


def digest(reference: str) -> bytes | None:
    """Give the SHA-256 digest of a key, from the key itself, a reference to it, or `sha256:` and the digest in hex."""
    if reference.startswith("sha256:"):
        value = bytes.fromhex(reference[7:])
        if len(value) != 32:
            raise ValueError("a SHA-256 digest has 64 hexadecimal digits")
        return value
    secret = resolve(reference)
    return None if secret is None else hashlib.sha256(secret.reveal().encode("ascii")).digest()
