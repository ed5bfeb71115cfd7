"""Tools that the neutral vocabulary has no word for, and the plain functions that stand for them.

A `namespace` groups functions; each becomes a function called `<namespace>__<name>`. A `tool_search` that the caller
runs itself is a function of that name. Calls of either are written back as the caller knows them. What a caller calls
its tools is all in its request, so that nothing has to be remembered from reading it to writing the answer.

Source: the tools and `tool_search` guides of OpenAI's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SEARCH = "tool_search"
"""The name of the function that stands for the caller's own tool search, and the type of that tool."""


def flat_name(namespace: str, name: str) -> str:
    """Name the function that stands for one of a namespace."""
    return f"{namespace}__{name}"


def declared_tools(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give all tools of a request, each with its path: those in `tools`, and those that came later, in the input."""
    yield from _indexed(body.get("tools"), "tools")
    items = body.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") in ("additional_tools", "tool_search_output"):
            yield from _indexed(item.get("tools"), f"input[{index}].tools")


def _indexed(tools: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tools, list):
        yield from ((f"{at}[{index}]", tool) for index, tool in enumerate(tools))


def is_own_search(tool: dict[str, Any]) -> bool:
    """Whether a tool is a search that the caller runs, and describes as a function."""
    return tool.get("type") == SEARCH and tool.get("execution") == "client"


class CallerNames:
    """What the caller of a request calls the functions of its namespaces."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._names: dict[str, tuple[str, str]] = {}
        self.has_own_search = False
        for _, tool in declared_tools(body):
            if isinstance(tool, dict):
                self._add(tool)

    def _add(self, tool: dict[str, Any]) -> None:
        if is_own_search(tool):
            self.has_own_search = True
        if tool.get("type") != "namespace":
            return
        for _, inner in _indexed(tool.get("tools"), ""):
            if isinstance(inner, dict):
                namespace, name = str(tool.get("name")), str(inner.get("name"))
                self._names[flat_name(namespace, name)] = namespace, name

    def split(self, name: str) -> tuple[str, str]:
        """Split the name of a function into the namespace, "" for none, and the name in it."""
        return self._names.get(name, ("", name))

    def joined(self, namespace: Any, name: str) -> str:
        """Name the function that a call in the history was of. Calls of tools that a search found have a namespace of
        their own name, which is none."""
        flat = flat_name(str(namespace), name)
        return flat if flat in self._names else name
