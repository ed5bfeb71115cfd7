"""Settings and the database become one immutable `Snapshot`; calls are served from that alone.

A source is a function that gives a `Configuration`. They are merged in the order of `SOURCES`, later ones winning: the
database stands after the settings. A call keeps the snapshot that it began with; `refresh()` puts a new one in place
for the calls that come after. A source that cannot be read says what it said last, or nothing if it never did.

What is broken in one provider does not take the others down: it is left out, logged, and named in `broken`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ai_gateway.allowances import LimitTable
from ai_gateway.breakers import BreakerPolicy
from ai_gateway.bulkheads import Queue
from ai_gateway.cache_policy import CachePolicy
from ai_gateway.calls import Caller, Target
from ai_gateway.capabilities import CapabilityTable, Rule, read_rule
from ai_gateway.conf import settings
from ai_gateway.configuration import Configuration, NotHere, RouteRule, SourceUnavailable
from ai_gateway.credentials import Secret, resolve
from ai_gateway.declared import from_settings, read_targets
from ai_gateway.guardrails.register import GuardTable, read_guards
from ai_gateway.key_cache import KeyCache
from ai_gateway.pricing import Catalogue, PriceTable
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.providers import CATALOG, Auth, Credential, Provider, build_provider
from ai_gateway.recording_policy import RecordingPolicy
from ai_gateway.retries import RetryPolicy
from ai_gateway.timeouts import TimeoutTable

logger = logging.getLogger("ai_gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a call needs to know of the configuration, ready for use."""

    providers: Mapping[str, Provider]
    broken: Mapping[str, str]
    """Providers that could not be built, with the reason: for the operator, not for callers."""
    switched_off: frozenset[str]
    """Providers that do not exist here because somebody said so."""
    routes: Mapping[str, tuple[Target, ...]]
    rules: Mapping[str, RouteRule]
    """What there is to a route besides its targets, by its name; most have nothing here."""
    keys: Mapping[bytes, Caller] = field(repr=False)
    """The callers that hold a gateway key of the settings, by the SHA-256 digest of the key."""
    key_cache: KeyCache | None = field(repr=False)
    """Where virtual keys are looked up."""
    capabilities: CapabilityTable
    """What each model can do."""
    carrier: Carrier = field(repr=False)
    """Seals what a provider wants back in a later turn, for a caller to carry."""
    default_provider: str
    passthrough: bool
    timeouts: TimeoutTable
    """How long to wait for each target."""
    keep_alive_interval: float | None
    max_body_bytes: int
    max_upload_bytes: int
    body_timeout: float
    max_calls: int
    """How many calls the process serves at once."""
    queue: Queue
    """How many more may wait, and how long."""
    retries: RetryPolicy
    """How often a call is tried."""
    breakers: BreakerPolicy
    """When a target counts as not well."""
    limits: LimitTable
    """The limits that calls have to keep to."""
    prices: PriceTable
    """What models cost."""
    require_price: str
    reserved_output: int
    reservation_ttl: float
    is_measured: bool
    """Whether it is wanted to know what calls use: they are written down, or there are limits."""
    guards: GuardTable
    """What calls have to pass."""
    recording: RecordingPolicy | None
    """Which calls have their bodies kept. None: none."""
    cache: CachePolicy | None
    """Which calls are answered from the cache. None: none."""
    is_committed: bool
    """Whether a call is written down before its caller sees the end of it."""
    allows_client_secrets: bool
    """Whether holders of a gateway key get what leads to a provider's realtime sessions past the gateway."""
    allows_uncounted_work: bool
    """Whether limits of tokens and money let pass what they cannot count."""
    asks_usage: bool
    """Whether providers are asked for the usage of streams whose callers did not ask."""
    metrics_token: Secret | None = field(repr=False)

    @property
    def configured(self) -> dict[str, Provider]:
        """The providers that can serve a caller with a gateway key and that somebody chose to set up."""
        return {alias: provider for alias, provider in self.providers.items() if provider.is_configured}


Source = Callable[[], Configuration]

SOURCES: list[Source] = [from_settings]
"""The app's own `ready()` puts the database behind the settings."""

price_catalogue: Catalogue | None = None
"""What knows prices that nobody entered; the app's `ready()` puts it here."""

writes_usage: Callable[[], bool] | None = None
"""Whether there is where to write down what calls used; the app's `ready()` puts it here."""

key_cache: KeyCache | None = None
"""Where virtual keys are looked up; the app's `ready()` puts it here."""

_snapshot: Snapshot | None = None
_changes = 0
"""How often what is in force was replaced or dropped."""
_lock = threading.Lock()
"""Of who reads the sources to bring them into force, which may take long."""
_place = threading.Lock()
"""Of who puts a snapshot in force. Nobody waits for anything who holds it."""
_last: dict[Source, Configuration] = {}
_problems: dict[Source, str] = {}
_reported: dict[str, str] = {}


def snapshot() -> Snapshot:
    """Give the snapshot in force, built when it is first asked for. Waits for nobody who builds one at the same time:
    a call may ask, on an event loop."""
    global _snapshot
    found = _snapshot
    if found is None:
        seen = _changes
        found = build([_read(source) for source in SOURCES])
        with _place:
            # Whatever came into force meanwhile was read later, and knows more.
            if _snapshot is not None:
                found = _snapshot
            elif _changes == seen:
                _snapshot = found
    return found


def is_built() -> bool:
    """Whether there is a snapshot that is in force."""
    return _snapshot is not None


def refresh() -> Snapshot:
    """Build a snapshot anew and put it in force, one at a time. If that fails the old one stays, and the error is
    raised. Sources may wait for a database; those that do say NotHere on an event loop."""
    global _snapshot, _changes
    with _lock:
        found = build([_read(source) for source in SOURCES])
        with _place:
            _snapshot = found
            _changes += 1
        return found


def _read(source: Source) -> Configuration:
    """Read a source, or give what it said last."""
    try:
        found = source()
    except NotHere:
        return _last.get(source, Configuration())
    except SourceUnavailable as error:
        if _problems.get(source) != str(error):
            logger.error("A source of the configuration fails, what it said last stays in force: %s", error)
        _problems[source] = str(error)
        return _last.get(source, Configuration())
    if _problems.pop(source, None) is not None:
        logger.warning("The source of the configuration that failed can be read again.")
    _last[source] = found
    return found


def problems() -> list[str]:
    """Tell, for the operator, which sources could not be read, so that what they said last is in force."""
    return list(_problems.values())


def has_read_all() -> bool:
    """Whether every source of the configuration was read, now or before."""
    return all(source in _last for source in SOURCES)


def forget(*, setting: str = "AI_GATEWAY", **_: object) -> None:
    """Drop the snapshot, so that it is built anew when it is next asked for. Receives Django's `setting_changed`, so
    that `override_settings` works."""
    global _snapshot, _changes
    if setting == "AI_GATEWAY":
        with _place:
            _snapshot = None
            _changes += 1


def _renew_locks() -> None:
    """Let nobody wait, in a forked process, for a thread of its parent."""
    global _lock, _place
    _lock, _place = threading.Lock(), threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


def build(configurations: Sequence[Configuration]) -> Snapshot:
    """Merge configurations into a snapshot."""
    providers, broken = build_providers(configurations)
    routes: dict[str, tuple[Target, ...]] = {}
    rules: dict[str, RouteRule] = {}
    for each in configurations:
        for name, route in each.routes.items():
            routes[name] = read_targets(route)
            rules.pop(name, None)
        rules.update(each.rules)
    limits = LimitTable(rule for each in configurations for rule in each.limits)
    is_kept = settings.USAGE and writes_usage is not None and writes_usage()
    is_measured = is_kept or bool(limits)
    return Snapshot(
        providers=providers,
        broken=broken,
        switched_off=frozenset(alias for each in configurations for alias in each.hidden if alias not in providers),
        routes={name: targets for name, targets in routes.items() if targets},
        rules=rules,
        keys=read_keys({name: key for each in configurations for name, key in each.keys.items()}),
        capabilities=CapabilityTable(read_capabilities(settings.CAPABILITIES)),
        carrier=Carrier(settings.carrier_keys()),
        key_cache=key_cache,
        default_provider=settings.DEFAULT_PROVIDER,
        passthrough=settings.PASSTHROUGH,
        timeouts=TimeoutTable(settings.TIMEOUTS, providers, routes, rules),
        keep_alive_interval=settings.KEEP_ALIVE_INTERVAL or None,
        max_body_bytes=settings.MAX_BODY_BYTES,
        max_upload_bytes=settings.MAX_UPLOAD_BYTES,
        body_timeout=settings.BODY_TIMEOUT,
        max_calls=settings.MAX_CALLS or sys.maxsize,
        queue=settings.QUEUE,
        retries=settings.RETRIES,
        breakers=settings.BREAKERS,
        limits=limits,
        prices=PriceTable([row for each in configurations for row in each.prices], price_catalogue),
        require_price=settings.REQUIRE_PRICE,
        reserved_output=settings.RESERVED_OUTPUT,
        reservation_ttl=settings.RESERVATION_TTL,
        is_measured=is_measured,
        guards=read_guards(settings.GUARDRAILS),
        recording=settings.BODY_LOGGING if is_kept else None,
        cache=settings.RESPONSE_CACHE,
        is_committed=is_kept and settings.USAGE_DURABILITY == "committed",
        allows_client_secrets=settings.CLIENT_SECRETS,
        allows_uncounted_work=settings.UNCOUNTED_WORK,
        asks_usage=is_measured and settings.USAGE_STREAM_OPTIONS,
        metrics_token=resolve(settings.METRICS_TOKEN) if settings.METRICS_TOKEN else None,
    )


def build_providers(configurations: Sequence[Configuration]) -> tuple[dict[str, Provider], dict[str, str]]:
    """Build every provider: the rows of the catalogue, and over them what is configured. Also tell which are broken."""
    providers: dict[str, Provider] = dict(CATALOG)
    broken: dict[str, str] = {}
    for each in configurations:
        for name, entry in each.providers.items():
            alias = name.lower()
            broken.pop(alias, None)
            try:
                providers[alias] = with_credentials(build_provider(alias, entry), each.credentials.get(alias, ()))
            except (ValueError, TypeError, ImportError, OSError) as error:
                broken[alias] = str(error)
        broken.update(each.broken)
        for alias in each.hidden:
            providers.pop(alias, None)
            broken.pop(alias, None)
    for alias in broken:
        providers.pop(alias, None)
    _report(broken)
    if settings.ALLOW_PRIVATE_UPSTREAMS:
        providers = {alias: provider.with_options({"allow_private": True}) for alias, provider in providers.items()}
    return providers, broken


def secrets_of(provider: Provider) -> Iterator[Secret]:
    """Give what a provider is called with."""
    if provider.api_key is not None:
        yield provider.api_key
    for credential in provider.credentials:
        yield credential.secret


def stored_secrets() -> list[Secret]:
    """List what all providers are called with."""
    return [secret for provider in snapshot().providers.values() for secret in secrets_of(provider)]


def with_credentials(provider: Provider, credentials: Sequence[Credential]) -> Provider:
    """Give a provider its stored credentials."""
    if not credentials:
        return provider
    options: dict[str, object] = {"api_key": credentials[0].secret, "credentials": tuple(credentials)}
    if provider.auth is Auth.NONE:
        options["auth"] = Auth.BEARER  # As with the option `api_key`: what is given is sent.
    return provider.with_options(options)


def _report(broken: Mapping[str, str]) -> None:
    """Log what is broken, once for each reason: a snapshot may be built every few seconds."""
    for alias, reason in broken.items():
        if _reported.get(alias) != reason:
            logger.error("The provider %r is misconfigured and left out: %s", alias, reason)
    _reported.clear()
    _reported.update(broken)


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
