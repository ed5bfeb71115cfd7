"""Every public name of the package says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = [file for file in (ROOT / "ai_gateway").rglob("*.py") if "migrations" not in file.parts]

DJANGOS = ("Meta", "Media")
"""Classes within classes that Django reads as options, and which mean the same everywhere."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def undocumented(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    """Find public classes, functions and methods without a docstring."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_") or node.name in DJANGOS or is_overload(node):
            continue
        if not ast.get_docstring(node):
            yield f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, f"{prefix}{node.name}.")


def is_overload(node: Definition) -> bool:
    """Whether it only types what another definition documents: an overload, or the setter of a property."""
    names = {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}
    return bool(names & {"overload", "setter"})


def test_every_module_class_and_function__has_a_docstring() -> None:
    missing: list[str] = []
    for file in FILES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        name = str(file.relative_to(ROOT))
        if tree.body and not ast.get_docstring(tree):
            missing.append(name)
        missing += undocumented(tree.body, f"{name}: ")
    assert not missing, "\n".join(missing)
