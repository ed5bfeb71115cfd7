"""Checks of the providers, and of the names that lead to them: DEFAULT_PROVIDER and ROUTES."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register

from ai_gateway.calls import BaseURL
from ai_gateway.checks.secrets import REFERENCES, check_reference, is_secret
from ai_gateway.checks.settings import TAG, is_sound, suggestion
from ai_gateway.conditions import read_conditions
from ai_gateway.conf import settings
from ai_gateway.probe import is_free
from ai_gateway.providers import CATALOG, Provider, build_provider
from ai_gateway.providers.options import find_backend
from ai_gateway.transports.dialing import is_public

Checks = Iterator[CheckMessage]


@register(TAG)
def check_providers(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check every entry of PROVIDERS."""
    if not is_sound("PROVIDERS"):
        return []
    repeated = [name for name, count in Counter(map(str.lower, settings.PROVIDERS)).items() if count > 1]
    return [
        *(_wrong_entry(alias, "is there more than once: upper and lower case are the same") for alias in repeated),
        *(message for alias, entry in settings.PROVIDERS.items() for message in _check_entry(alias, entry)),
    ]


def _wrong_entry(alias: str, what: str) -> CheckMessage:
    return Error(
        f'AI_GATEWAY["PROVIDERS"][{alias!r}] {what}.',
        hint='An entry is {"BACKEND": a provider\'s name or a dotted path, "OPTIONS": {...}}, both may be left out. '
        "Its alias is a name without a slash, a blank or a comma.",
        id="ai_gateway.E030",
    )


def _check_entry(alias: str, entry: Mapping[str, Any]) -> Checks:
    unknown = sorted(set(map(str, entry)) - {"BACKEND", "OPTIONS"})
    options, backend = entry.get("OPTIONS", {}), entry.get("BACKEND", alias.lower())
    if unknown:
        yield _wrong_entry(alias, f"has unknown keys: {', '.join(unknown)}")
    elif not isinstance(options, Mapping) or not isinstance(backend, str):
        yield _wrong_entry(alias, "must have a string as BACKEND and a dict as OPTIONS")
    elif not alias.isascii() or set(alias) & set("/, \t\r\n"):
        yield _wrong_entry(alias, "has an alias that callers cannot write")
    else:
        where = f'AI_GATEWAY["PROVIDERS"][{alias!r}]["OPTIONS"]'
        found = [*_check_backend(alias, backend), *_check_base_url(where, options), *_check_references(where, options)]
        yield from found
        if not any(isinstance(message, Error) for message in found):
            yield from _check_built(alias, entry)


def _check_references(where: str, options: Mapping[str, Any]) -> Checks:
    for name, value in options.items():
        if isinstance(value, str) and (is_secret(str(name)) or value.startswith(REFERENCES)):
            found = check_reference(f'{where}["{name}"]', value)
            if found is not None:
                yield found


def _check_backend(alias: str, backend: str) -> Checks:
    try:
        find_backend(backend, f'AI_GATEWAY["PROVIDERS"][{alias!r}]')
    except (ImportError, ValueError, TypeError, OSError) as error:
        meant = (
            "Correct the path, or install what it needs." if "." in backend else suggestion(backend.lower(), CATALOG)
        )
        yield Error(
            f"The BACKEND of the provider {alias!r} cannot be found. {error}",
            hint=f'{meant} For any server with OpenAI\'s API write "BACKEND": "custom", "OPTIONS": {{"base_url": "https://…"}}.',
            id="ai_gateway.E031",
        )


def _check_base_url(where: str, options: Mapping[str, Any]) -> Checks:
    if isinstance(options.get("base_url"), str) and not options["base_url"].startswith(REFERENCES):
        try:
            BaseURL.parse(options["base_url"])
        except ValueError as error:
            yield Error(
                f'{where}["base_url"] is wrong: {error}.',
                hint='Write it as its documentation does, for example "base_url": "https://api.example.com/v1".',
                id="ai_gateway.E033",
            )


def _check_built(alias: str, entry: Mapping[str, Any]) -> Checks:
    try:
        provider = build_provider(alias.lower(), entry)
    except (ImportError, ValueError, TypeError, OSError) as error:
        yield Error(
            f"The provider {alias!r} cannot be made from its OPTIONS. {error}",
            hint='OPTIONS are fields of its class, for example {"api_key": "env:NAME", "base_url": "https://…"}.',
            id="ai_gateway.E032",
        )
    else:
        yield from _check_address(alias, provider)


def _check_address(alias: str, provider: Provider) -> Checks:
    scheme, host = provider.base.origin.scheme, provider.base.origin.host
    is_private = host == "localhost" or host.endswith(".localhost") or (is_address(host) and not is_public(host))
    if is_private and not (provider.allow_private or settings.ALLOW_PRIVATE_UPSTREAMS):
        yield Error(
            f"The provider {alias!r} lives at {host}, a private address, which the gateway refuses to call.",
            hint=f'If that is intended, add "allow_private": True to AI_GATEWAY["PROVIDERS"][{alias!r}]["OPTIONS"]. '
            "Where settings come from the environment: ALLOW_PRIVATE_UPSTREAMS=true, for all providers.",
            id="ai_gateway.E035",
        )
    if scheme == "http" and provider.api_key is not None and not (is_private or "." not in host):
        yield Warning(
            f"The credential of the provider {alias!r} goes to {host} over http://, readable by everybody on the way.",
            hint='Write "base_url": "https://…". If the network between is your own, silence this check.',
            id="ai_gateway.W037",
        )


def is_address(host: str) -> bool:
    """Whether a host is an IP address and no name. BaseURL.parse has checked that it is one of both."""
    return ":" in host or host.replace(".", "").isdecimal()


def known_aliases() -> set[str]:
    """The names that lead to a provider: the rows of the catalogue and the configured ones."""
    return {*CATALOG, *(map(str.lower, settings.PROVIDERS) if is_sound("PROVIDERS") else ())}


@register(TAG)
def check_default_provider(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that DEFAULT_PROVIDER exists."""
    if not is_sound("DEFAULT_PROVIDER") or settings.DEFAULT_PROVIDER in known_aliases():
        return []
    name = settings.DEFAULT_PROVIDER
    hint = f'{suggestion(name.lower(), known_aliases())} Write its alias in lower case: "DEFAULT_PROVIDER": "openai".'
    return [Error(f'AI_GATEWAY["DEFAULT_PROVIDER"] names no provider: {name!r}.', hint=hint, id="ai_gateway.E038")]


@register(TAG)
def check_probes(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that whom PROBES names can be asked for something that costs nothing."""
    if not is_sound("PROBES") or not is_sound("PROVIDERS"):
        return []
    aliases = dict.fromkeys(alias.lower() for alias in settings.PROBES.get("providers", ()))
    return [message for alias in aliases for message in _check_probed(alias)]


def _check_probed(alias: str) -> Checks:
    if alias not in known_aliases():
        yield Warning(
            f'AI_GATEWAY["PROBES"] names a provider that is not in the settings: {alias!r}.',
            hint=f"{suggestion(alias, known_aliases())} If it is in the database, silence this check.",
            id="ai_gateway.W127",
        )
        return
    entry = {name.lower(): entry for name, entry in settings.PROVIDERS.items()}.get(alias, {})
    try:
        provider = build_provider(alias, entry)
    except (ImportError, ValueError, TypeError, OSError):
        return  # check_providers says so.
    if not is_free(provider):
        yield Error(
            f'AI_GATEWAY["PROBES"] names {alias!r}, which has nothing that can be asked for free.',
            hint="It does not list its models, and a call that is paid for is no probe. Take it out.",
            id="ai_gateway.E126",
        )


@register(TAG)
def check_routes(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check where every route leads, and that no route stands in the way of a provider."""
    if not is_sound("ROUTES"):
        return []
    targets = [(name, target) for name, route in settings.ROUTES.items() for target in _written_targets(route)]
    messages = [message for name, target in targets for message in _check_target(name, target)]
    conditions = [message for name, route in settings.ROUTES.items() for message in _check_conditions(name, route)]
    return [*messages, *conditions, *map(_hiding, filter(_hides_a_provider, settings.ROUTES))]


def _written_targets(route: Any) -> list[str]:
    """List the targets of a route as they are written, whatever part they have."""
    entries = route["targets"] if isinstance(route, Mapping) else route
    return [entry["target"] if isinstance(entry, Mapping) else entry for entry in entries]


def _check_conditions(name: str, route: Any) -> Checks:
    entries = route["targets"] if isinstance(route, Mapping) else ()
    for entry in entries:
        try:
            read_conditions(entry.get("conditions", {}) if isinstance(entry, Mapping) else {})
        except ValueError as error:
            yield Error(
                f'AI_GATEWAY["ROUTES"][{name!r}]: the conditions of {entry["target"]!r} cannot be read, so it is left '
                f"out. {error}",
                hint='Write for example: "conditions": {"images": False, "max_input_tokens": 8000}',
                id="ai_gateway.E130",
            )


def _check_target(name: str, target: str) -> Checks:
    provider, slash, model = target.partition("/")
    if not (provider and slash and model):
        yield Error(
            f'AI_GATEWAY["ROUTES"][{name!r}] has a target that is not written as provider/model: {target!r}.',
            hint="Write the alias of a provider, a slash and that provider's name of the model: "
            f'"{settings.DEFAULT_PROVIDER}/{target.strip("/")}".',
            id="ai_gateway.E039",
        )
    elif provider.lower() not in known_aliases():
        yield Error(
            f'AI_GATEWAY["ROUTES"][{name!r}] leads to an unknown provider: {provider!r}.',
            hint=f'{suggestion(provider.lower(), known_aliases())} Or add it to AI_GATEWAY["PROVIDERS"].',
            id="ai_gateway.E040",
        )


def _hides_a_provider(name: str) -> bool:
    provider, slash, model = name.partition("/")
    return provider.lower() in known_aliases() and (bool(model) or not slash)


def _hiding(name: str) -> CheckMessage:
    alias = name.partition("/")[0]
    return Warning(
        f'AI_GATEWAY["ROUTES"] has a route {name!r}, which callers take for the provider {alias!r}: the route wins.',
        hint="Give the route a name of its own, that is no provider's alias and does not start with one and a slash.",
        id="ai_gateway.W041",
    )
