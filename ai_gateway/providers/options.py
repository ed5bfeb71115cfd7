"""Providers as the settings describe them: a name or a dotted path, and options that override fields.

    {"BACKEND": "openai", "OPTIONS": {"api_key": "env:OPENAI_API_KEY", "timeouts": {"idle": 60}}}

An option is a field of the provider's class. Settings are written by people, so values are taken in the forms that
people write: a reference for a secret, a list for a tuple or a set, a mapping for pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from django.utils.module_loading import import_string

from ai_gateway.bulkheads import Queue
from ai_gateway.calls import UNLIMITED, Phases, Timeouts
from ai_gateway.credentials import Secret, resolve
from ai_gateway.protocols import DIALECTS
from ai_gateway.providers.base import Auth, Provider
from ai_gateway.providers.catalog import CATALOG

ENTRY_KEYS = frozenset(("BACKEND", "OPTIONS"))

NOT_OPTIONS = frozenset(("name", "row", "home", "is_set_up", "credentials"))
"""Fields that follow from the entry itself, or from where credentials are kept."""


def build_provider(alias: str, entry: Mapping[str, Any]) -> Provider:
    """Build the provider of one entry of `AI_GATEWAY["PROVIDERS"]`.

    `BACKEND` is a row of the catalogue (the alias by default), or a dotted path to a `Provider`: an instance, a
    subclass, or a function without arguments that gives an instance.

    Raises ValueError saying what to write instead, ImportError for a path that leads nowhere, OSError for a credential
    file that cannot be read.
    """
    where = f'AI_GATEWAY["PROVIDERS"]["{alias}"]'
    unknown = sorted(set(entry) - ENTRY_KEYS)
    if unknown:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}. Write BACKEND or OPTIONS.")
    backend = find_backend(entry.get("BACKEND", alias), where)
    given = entry.get("OPTIONS", {})
    if not isinstance(given, Mapping):
        raise ValueError(f'{where}["OPTIONS"] must be a dict, such as {{"api_key": "env:NAME"}}.')
    options = read_options(backend, given, f'{where}["OPTIONS"]')
    try:
        provider = make(backend, {**options, "name": alias, "is_set_up": True})
    except ValueError as error:
        raise ValueError(f'{where}["OPTIONS"]: {error}') from error
    check(provider, where)
    return provider


def find_backend(backend: object, where: str) -> Provider | type[Provider]:
    """Find the row, instance or class that a `BACKEND` names."""
    if not isinstance(backend, str):
        raise ValueError(f'{where}["BACKEND"] must be a name or a dotted path, not {backend!r}.')
    row = CATALOG.get(backend.lower())
    if row is not None:
        return row
    if "." not in backend:
        names = ", ".join(sorted(CATALOG))
        raise ValueError(
            f'{where}["BACKEND"]: there is no provider {backend!r}. Write a dotted path, "custom" for any '
            f"OpenAI-compatible API, or one of: {names}."
        )
    found = import_string(backend)
    if not isinstance(found, (Provider, type)) and callable(found):
        found = found()
    if isinstance(found, Provider) or (isinstance(found, type) and issubclass(found, Provider)):
        return found
    raise ValueError(f'{where}["BACKEND"]: {backend!r} is not a Provider, a subclass of it, or a function giving one.')


def make(backend: Provider | type[Provider], options: Mapping[str, Any]) -> Provider:
    """Make a provider of a row, or of a class. Raises ValueError for a field that the class needs and nobody gave."""
    if isinstance(backend, Provider):
        return backend.with_options(options)
    missing = [
        field.name
        for field in fields(backend)
        if field.init and field.default is MISSING and field.default_factory is MISSING and field.name not in options
    ]
    if missing:
        raise ValueError(f"{backend.__name__} needs the option {missing[0]!r}.")
    return backend(**options)


def check(provider: Provider, where: str) -> None:
    """Raise ValueError for a provider that could not be called."""
    if not provider.has_address:
        needed = " or ".join(repr(option) for option in ("base_url", *provider.required_options[:1]))
        raise ValueError(f'{where}["OPTIONS"] must have {needed}: the address is not known without it.')
    try:
        _ = provider.base
    except ValueError as error:
        raise ValueError(
            f'{where}["OPTIONS"]["base_url"] must be a URL like "https://api.example.com/v1": {error}'
        ) from error
    known = {dialect.name for dialect in DIALECTS.values() if dialect.is_generation}
    unknown = sorted(provider.dialects - known)
    if unknown:
        names = ", ".join(sorted(known))
        raise ValueError(f'{where}["OPTIONS"]["dialects"]: there is no {unknown[0]!r}. Known are: {names}.')


def read_options(backend: Provider | type[Provider], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read the values of options by the types of the fields that they override."""
    cls = backend if isinstance(backend, type) else type(backend)
    hints = get_type_hints(cls)
    known = sorted({field.name for field in fields(cls) if field.init} - NOT_OPTIONS)
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{where} has no option {name!r}. Known are: {', '.join(known)}.")
        try:
            options[name] = convert(value, hints[name])
        except (ValueError, TypeError) as error:
            raise ValueError(f'{where}["{name}"]: {error}') from error
    if "api_key" in options and backend.auth is Auth.NONE:
        # Programs that run without a key by default take one as a bearer token if they are told to want one.
        options.setdefault("auth", Auth.BEARER)
    return options


def convert(value: Any, hint: Any) -> Any:
    """Convert a value of the settings to a field's type. Raises ValueError or TypeError saying what is expected."""
    kinds = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
    if value is None and NoneType in kinds:
        return None
    for kind in kinds - {NoneType}:
        reader = READERS.get(kind)
        if reader is not None:
            return reader(value)
    if get_origin(hint) is frozenset:
        (item,) = get_args(hint)
        return frozenset(convert(each, item) for each in listed(value))
    return frozen(value)


def frozen(value: Any) -> Any:
    """Make a value hashable, as every field of a provider is: tuples of lists, and of the pairs of a mapping."""
    if isinstance(value, Mapping):
        return tuple((key, frozen(each)) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(frozen(each) for each in value)
    if isinstance(value, (set, frozenset)):
        return frozenset(value)
    return value


def listed(value: Any) -> Iterable[Any]:
    """Take a list, tuple or set as it is. A string is not a list of letters."""
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise TypeError(f"it must be a list, not {value!r}")
    return value


def read_secret(value: Any) -> Secret | None:
    """Resolve a reference. The value itself never gets into a message."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise TypeError('it must be a string: "env:NAME", "file:/path" or the secret itself')
    return resolve(value)


def read_timeouts(value: Any) -> Phases:
    """Read timeouts from a mapping of phases to seconds. Phases that are missing stay so. Raises TypeError for a phase
    that there is not, ValueError for what is no number of seconds above 0, nor 0 where that means no limit."""
    if isinstance(value, Timeouts):
        value = asdict(value)
    if not isinstance(value, Mapping) or not set(value) <= set(PHASES):
        raise TypeError(f"it must be a dict of seconds, with some of the keys {', '.join(PHASES)}")
    return tuple((phase, _read_patience(phase, seconds)) for phase, seconds in value.items())


PHASES = tuple(field.name for field in fields(Timeouts))
"""The phases of a call that have a timeout."""


def _read_patience(phase: str, value: Any) -> float:
    seconds = read_seconds(value)
    if not seconds and phase not in UNLIMITED:
        raise ValueError(f"{phase} must be above 0")
    return seconds


def read_queue(value: Any) -> Queue:
    """Read a queue from a mapping with its size and seconds."""
    if isinstance(value, Queue):
        return value
    if not isinstance(value, Mapping) or not set(value) <= set(Queue._fields):
        raise TypeError(f"it must be a dict with keys out of {', '.join(Queue._fields)}")
    return Queue(
        size=read_count(value.get("size", Queue().size)), seconds=read_seconds(value.get("seconds", Queue().seconds))
    )


def read_seconds(value: Any) -> float:
    """Read a number of seconds, which a string may hold."""
    seconds = float(value)
    if isinstance(value, bool) or not 0 <= seconds < float("inf"):
        raise ValueError(f"it must be a number that is not negative, not {value!r}")
    return seconds


def read_count(value: Any) -> int:
    """Read a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"it must be a whole number above 0, not {value!r}")
    return value


def read_auth(value: Any) -> Auth:
    """Read a style of credential by its name, in any case: "bearer", "x_api_key"."""
    if isinstance(value, Auth):
        return value
    try:
        return Auth[str(value).upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(style.name.lower() for style in Auth)
        raise ValueError(f"there is no {value!r}. Known are: {names}") from None


def read_text(value: Any) -> str:
    """Take a string."""
    if not isinstance(value, str):
        raise TypeError(f"it must be a string, not {value!r}")
    return value


def read_flag(value: Any) -> bool:
    """Take True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"it must be True or False, not {value!r}")
    return value


READERS: Mapping[Any, Callable[[Any], Any]] = {
    Secret: read_secret,
    Phases: read_timeouts,
    Queue: read_queue,
    Auth: read_auth,
    float: read_seconds,
    int: read_count,
    str: read_text,
    bool: read_flag,
}
"""How a value is read, by the type of the field."""
