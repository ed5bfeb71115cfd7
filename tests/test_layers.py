"""Who may import whom, and how long things may grow: the shape of the package, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ai_gateway"
LAYERS = (
    "errors calls sse protocols credentials crypto cors bodies charges finishing cooldowns deadlines traffic "
    "ids money timespans signals loops edits texts passages plain_forms patterns bulkheads open_files histograms "
    "redaction server_timing progress balances replies daemons thread_pools beside tracking uploads logprobs escapes "
    "announcements packet_filter gathering __version__",
    "guardrails traces overload consumption conversations estimates allowances model_names breakers failures "
    "cache_policy fingerprints",
    "tariff retries facts recording_policy recorder",
    "price_columns",
    "pricing listeners conditions",
    "conf transports providers environment capabilities published_prices price_catalogue litellm_prices",
    "configuration key_cache keyring validators idempotency timeouts",
    "fields exact_text",
    "models",
    "stored declared key_store issuing limits rollups recorded",
    "labels",
    "bulk_insert",
    "rollup_store",
    "notices peers",
    "holds spending standings exports gossip breaker_events",
    "reports wording questions charts budgets",
    "figures",
    "meter",
    "kept_answers guarded_stream",
    "cache_store flights",
    "live journal ledger_salvage",
    "spool ledger_writer ledger_store",
    "reconciliation alerts",
    "registry",
    "refresher seeding strategies",
    "routing suitability health refusals intake guard changes unpriced",
    "sockets",
    "keys access ledger cycles origins",
    "server",
    "relay translation model_lists listing statement concurrency admission ratelimits fallbacks",
    "hops accounting recording",
    "attempts experiments keeping replays",
    "mirrors continuation response_cache guarding",
    "gateway sessions",
    "realtime",
    "responses explanation interchange price_sync scraping prompts hearing",
    "probe litellm",
    "prober",
    "lifespan",
    "views telemetry",
    "inprocess snippets roster",
    "client sample_code",
    "trial",
    "playground",
    "playground_page",
    "site urls checks demo",
    "handler",
    "asgi apps management admin portal",
    "test",
)
"""From the bottom up: a module imports from its own line and from those above it in this list, never from below."""

APART = (
    ("transports", "providers"),
    ("keys", "routing"),
    ("keys", "access"),
    ("admission", "accounting"),
    # The models need all apps to be loaded first. What serves calls is imported before that, and gets them injected.
    ("registry", "stored"),
    ("registry", "key_store"),
    ("ledger", "ledger_store"),
    ("protocols", "transports"),
    ("admin", "portal"),
)
"""Siblings that do not know each other, in either direction."""

NO_DJANGO = [
    "errors",
    "announcements",
    "calls",
    "traces",
    "server_timing",
    "patterns",
    "sse",
    "protocols",
    "credentials",
    "crypto",
    "bodies",
    "access",
    "key_cache",
    "bulkheads",
    "overload",
    "concurrency",
    "configuration",
    "refresher",
    "transports",
    "relay",
    "translation",
    "hops",
    "capabilities",
    "routing",
    "facts",
    "balances",
    "conditions",
    "suitability",
    "fallbacks",
    "keys",
    "intake",
    "guard",
    "sockets",
    "sessions",
    "refusals",
    "replies",
    "charges",
    "ids",
    "daemons",
    "thread_pools",
    "tracking",
    "uploads",
    "consumption",
    "conversations",
    "listeners",
    "estimates",
    "model_names",
    "tariff",
    "price_columns",
    "published_prices",
    "price_catalogue",
    "allowances",
    "pricing",
    "holds",
    "meter",
    "live",
    "admission",
    "ratelimits",
    "finishing",
    "cooldowns",
    "deadlines",
    "timeouts",
    "idempotency",
    "traffic",
    "strategies",
    "breakers",
    "gossip",
    "failures",
    "retries",
    "attempts",
    "recording",
    "recording_policy",
    "recorder",
    "redaction",
    "experiments",
    "mirrors",
    "continuation",
    "cache_policy",
    "fingerprints",
    "kept_answers",
    "flights",
    "keeping",
    "replays",
    "response_cache",
    "accounting",
    "spool",
    "ledger_writer",
    "ledger",
    "unpriced",
    "prompts",
    "hearing",
    "edits",
    "texts",
    "passages",
    "loops",
    "plain_forms",
    "beside",
    "logprobs",
    "escapes",
    "guardrails",
    "guarded_stream",
    "guarding",
]
"""What could be used without Django: of it, only `conf` and what stands above may be Django's."""

OPTIONAL = {"botocore", "uvicorn", "corsheaders", "yaml", "genai_prices"}
"""Extras, which a function may import when it is called."""

LATE = {("apps.py", "ready"), ("rungateway.py", "serve"), ("dialing.py", "sockets")}
"""Where an import of our own is late on purpose: Django asks for it, or the module needs an extra, uvicorn or
websockets."""

LEVEL = {name: number for number, line in enumerate(LAYERS) for name in line.split()}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def top(path: Path) -> str:
    """The module or folder directly below the package that a file belongs to."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "__version__" if parts == ("__init__",) else parts[0]


def name(path: Path) -> str:
    """A file's path within the package."""
    return str(path.relative_to(PACKAGE))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Everything that stands in a file."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions in a file, inner ones too."""
    return (node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imports(found: Iterable[ast.AST]) -> Iterator[tuple[ast.stmt, str]]:
    """Every imported module, with its statement; `from package import module` gives the module."""
    for node in found:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            is_package = node.module == "ai_gateway" or is_folder(node.module)
            for alias in node.names:
                yield node, f"{node.module}.{alias.name}" if is_package else node.module


@cache
def is_folder(module: str) -> bool:
    """Whether a module is a folder of ours."""
    return (ROOT / module.replace(".", "/")).is_dir()


@cache
def own_imports(path: Path) -> frozenset[str]:
    """The parts of the package that a file imports, types included."""
    names = {name.split(".")[1] for _, name in imports(nodes(path)) if name.startswith("ai_gateway.")}
    return frozenset(names - {top(path)})


def test_imports_go_downwards_only() -> None:
    for path in FILES:
        above = {other for other in own_imports(path) if LEVEL[other] > LEVEL[top(path)]}
        assert not above, f"{name(path)} must not know {above}"


@pytest.mark.parametrize(("one", "other"), APART)
def test_some_siblings_do_not_know_each_other(one: str, other: str) -> None:
    for path in FILES:
        assert not (top(path) == one and other in own_imports(path)), name(path)
        assert not (top(path) == other and one in own_imports(path)), name(path)


def test_there_is_no_cycle() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        only_types = {
            id(inner)
            for node in nodes(path)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        found = {target for node, target in imports(nodes(path)) if id(node) not in only_types}
        graph[module] = {known for target in found for known in (target, target.rpartition(".")[0]) if known in modules}
        # A submodule's package is loaded before it, and knows of it: that is no cycle of anybody's making.
        graph[module] -= {module, *(parent for parent in modules if module.startswith(f"{parent}."))}
    assert tuple(TopologicalSorter(graph).static_order())


def test_files_and_functions_keep_to_their_bounds() -> None:
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, name(path)
        for function in functions(path):
            lines = (function.end_lineno or 0) - function.lineno
            assert lines < 80, f"{function.name} in {name(path)} has {lines} lines"


def test_no_function_hides_an_import() -> None:
    for path in FILES:
        for function in functions(path):
            hidden = {module.partition(".")[0] for _, module in imports(ast.walk(function))}
            assert hidden <= OPTIONAL or (path.name, function.name) in LATE, (
                f"{function.name} in {name(path)} hides imports of {hidden - OPTIONAL}"
            )


def test_the_lower_layers_do_not_know_django() -> None:
    for path in FILES:
        if top(path) in NO_DJANGO:
            assert not [other for _, other in imports(nodes(path)) if other.partition(".")[0] == "django"], name(path)
