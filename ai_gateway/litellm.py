"""LiteLLM's `config.yaml`, read into a document of ours (`interchange.py`) as far as that goes.

Each distinct address and credential becomes a provider, each name of a model a route, fallbacks more targets of it.
Whatever has no counterpart is reported, and so is a key that is written into the file: secrets are taken by reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ai_gateway.interchange import VERSION, Document

BACKENDS = {
    "azure": "azure",
    "bedrock": "bedrock",
    "fireworks_ai": "fireworks",
    "hosted_vllm": "vllm",
    "lm_studio": "lmstudio",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "together_ai": "together",
    "vertex_ai": "",
}
"""Backends by LiteLLM's prefix of a model, where the names differ; empty where there is none."""

SAME = frozenset(
    (
        *(
            "openai",
            "anthropic",
            "gemini",
            "groq",
            "mistral",
            "deepseek",
            "openrouter",
            "perplexity",
            "cohere",
            "cerebras",
        ),
        *("huggingface", "moonshot", "ollama", "vllm", "xai"),
    )
)
"""Prefixes that are the names of our backends, too."""

STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "lowest_latency",
    "cost-based-routing": "cheapest",
}
"""Our strategies by LiteLLM's. Its first is what it does if nothing is said."""

RATES = {"rpm": "requests", "tpm": "tokens"}
"""Limits of a deployment, and what of ours counts the same in a minute."""

MAPPED = frozenset(("model", "api_key", "api_base", "base_url", "weight", "timeout", *RATES))
"""Parameters of a deployment that have a counterpart."""

REFERENCE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(slots=True)
class Conversion:
    """The document so far, and what could not be taken over."""

    providers: Document = field(default_factory=dict)
    routes: Document = field(default_factory=dict)
    limits: Document = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def document(self) -> Document:
        """The document, complete. What LiteLLM's configuration has none of, it does not speak of."""
        document = {"version": VERSION, "providers": self.providers, "routes": self.routes}
        return {**document, "limits": self.limits} if self.limits else document


def convert(config: Mapping[str, Any]) -> Conversion:
    """Read a configuration of LiteLLM's proxy."""
    done = Conversion()
    for deployment in _list(config.get("model_list")):
        _convert_deployment(deployment, done)
    _convert_fallbacks(config, done)
    _convert_aliases(config, done)
    for part in sorted(set(config) - {"model_list", "router_settings", "litellm_settings", "general_settings"}):
        done.notes.append(f"{part}: not taken over.")
    _convert_budget(_mapping(config.get("litellm_settings")), done)
    strategy = STRATEGIES.get(str(_mapping(config.get("router_settings")).get("routing_strategy", "simple-shuffle")))
    for part, known in (
        ("router_settings", {"fallbacks", "model_group_alias", "routing_strategy" if strategy else ""}),
        ("litellm_settings", {"fallbacks", "max_budget", "budget_duration"}),
        ("general_settings", set[str]()),
    ):
        for name in sorted(set(_mapping(config.get(part))) - known):
            hint = " Make a key with gateway_key create." if name == "master_key" else ""
            done.notes.append(f"{part}.{name}: not taken over.{hint}")
    for route in done.routes.values():
        if len(route["targets"]) > 1:
            route.setdefault("strategy", strategy or "weighted")
    return done


WINDOWS = {"1h": "hour", "1d": "day", "24h": "day", "7d": "week", "1mo": "month", "30d": "month", None: "total"}
"""Our windows by LiteLLM's durations of a budget. Ours are of the calendar."""


def _convert_budget(settings: Mapping[str, Any], done: Conversion) -> None:
    """Take over the budget that all calls have together."""
    budget, duration = settings.get("max_budget"), settings.get("budget_duration")
    if budget is None:
        return
    if not isinstance(budget, int | float) or duration not in WINDOWS:
        done.notes.append(f"litellm_settings.max_budget: {budget!r} in {duration!r} is not taken over.")
        return
    limit = {"scope": "everyone", "measure": "cost", "window": WINDOWS[duration], "amount": str(budget)}
    done.limits["max_budget"] = limit


def _convert_deployment(deployment: Any, done: Conversion) -> None:
    name, parameters = str(deployment.get("model_name", "")), _mapping(deployment.get("litellm_params"))
    prefix, slash, model = str(parameters.get("model", "")).partition("/")
    if not slash:
        prefix, model = "openai", prefix
    backend = prefix if prefix in SAME else BACKENDS.get(prefix, "")
    if not backend or not name or not model:
        done.notes.append(f"model_list {name!r}: there is no backend for {parameters.get('model')!r}.")
        return
    for unknown in sorted(set(parameters) - MAPPED):
        done.notes.append(f"model_list {name!r}: litellm_params.{unknown} not taken over.")
    alias = _provider(name, backend, parameters, done)
    if "*" in name or "*" in model:
        done.notes.append(f"model_list {name!r}: a wildcard needs no route, ask for {alias}/<model>.")
        return
    target: Document = {"provider": alias, "model": model}
    if isinstance(parameters.get("weight"), int) and parameters["weight"] > 1:
        target["weight"] = parameters["weight"]
    for rate, measure in RATES.items():
        if isinstance(parameters.get(rate), int):
            of_model = {"scope": "model", "subject": f"{alias}/{model}", "measure": measure, "window": "minute"}
            done.limits[f"{alias}/{model} {rate}"] = {**of_model, "amount": str(parameters[rate])}
    targets = done.routes.setdefault(name, {"targets": []})["targets"]
    if all((each["provider"], each["model"]) != (alias, model) for each in targets):
        targets.append(target)


def _provider(name: str, backend: str, parameters: Mapping[str, Any], done: Conversion) -> str:
    """Find or make the provider of a deployment, and give its alias."""
    wanted: Document = {"backend": backend}
    base_url = parameters.get("api_base") or parameters.get("base_url")
    if isinstance(base_url, str) and not REFERENCE.fullmatch(base_url):
        wanted["base_url"] = base_url.rstrip("/")
        wanted["backend"] = "custom" if backend == "openai" else backend
    elif base_url:
        done.notes.append(f"model_list {name!r}: an address by reference is not taken over, set the base URL by hand.")
    if isinstance(parameters.get("timeout"), int | float):
        wanted["timeouts"] = {"first_byte": parameters["timeout"]}
    reference = _reference(name, parameters.get("api_key"), done)
    if reference:
        wanted["credentials"] = {"litellm": {"reference": reference}}
    for alias in _aliases(backend):
        found = done.providers.setdefault(alias, wanted)
        if found == wanted:
            return alias
    raise AssertionError("there is always another alias")


def _aliases(backend: str) -> Iterator[str]:
    yield backend
    number = 2
    while True:
        yield f"{backend}-{number}"
        number += 1


def _reference(name: str, value: Any, done: Conversion) -> str | None:
    if value is None:
        return None
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        done.notes.append(f"model_list {name!r}: the api_key is written into the file. Enter it by hand.")
        return None
    return f"env:{found[1]}"


def _convert_fallbacks(config: Mapping[str, Any], done: Conversion) -> None:
    for part in ("router_settings", "litellm_settings"):
        for entry in _list(_mapping(config.get(part)).get("fallbacks")):
            for name, others in _mapping(entry).items():
                _add_fallbacks(str(name), [str(other) for other in _list(others)], done)


def _add_fallbacks(name: str, others: list[str], done: Conversion) -> None:
    route = done.routes.get(name)
    if route is None:
        done.notes.append(f"fallbacks of {name!r}: there is no such model.")
        return
    if len(route["targets"]) > 1:
        done.notes.append(f"fallbacks of {name!r}: its deployments are asked in order, not in proportion.")
    route["strategy"] = "failover"
    for other in others:
        if other not in done.routes:
            done.notes.append(f"fallbacks of {name!r}: there is no model {other!r}.")
            continue
        route["targets"] += [target for target in done.routes[other]["targets"] if target not in route["targets"]]


def _convert_aliases(config: Mapping[str, Any], done: Conversion) -> None:
    for alias, name in _mapping(_mapping(config.get("router_settings")).get("model_group_alias")).items():
        if name in done.routes:
            done.routes[str(alias)] = {**done.routes[name]}
        else:
            done.notes.append(f"router_settings.model_group_alias {alias!r}: there is no model {name!r}.")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
