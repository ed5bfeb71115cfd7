"""The tree of errors: what its docstring draws is what is there, and every code means one thing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ai_gateway import errors
from ai_gateway.errors import GatewayError, Kind

ENTRY = re.compile(r"([A-Z]\w+) (\d{3})")


def drawn() -> dict[str, tuple[str, int]]:
    """Read the tree in the docstring: each name with its parent's and its status. A level is two spaces deeper."""
    found: dict[str, tuple[str, int]] = {}
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if line.strip() == "GatewayError":
            parents = ["GatewayError"]
        entries = ENTRY.findall(line)
        if parents and entries and line.startswith("      "):
            depth = (len(line) - len(line.lstrip())) // 2 - 2
            parents = [*parents[:depth], entries[0][0]]
            found |= {name: (parents[depth - 1], int(status)) for name, status in entries}
    return found


def classes(base: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from classes(child)


def codes_above(error: type[GatewayError]) -> set[object]:
    """The codes of those that an error is one of."""
    return {getattr(parent, "code", None) for parent in error.__mro__[1:]}


def test_the_docstring_draws_the_tree() -> None:
    assert drawn() == {each.__name__: (each.__bases__[0].__name__, each.status) for each in classes()}


def test_the_tree_has_the_branches_that_decide_what_may_be_tried_again() -> None:
    tree = drawn()
    assert len(tree) > 20
    assert tree["ConnectFailed"][0] == tree["UpstreamClosed"][0] == "UpstreamError"
    assert tree["PrivateAddressRefused"] == ("ConnectFailed", 502)


@pytest.mark.parametrize("error", list(classes()))
def test_a_class_says_what_it_is(error: type[GatewayError]) -> None:
    assert error.__doc__
    assert 400 <= error.status <= 599
    assert error.kind in Kind


def test_a_code_belongs_to_one_class() -> None:
    codes = [each.code for each in set(classes()) if each.code is not None and each.code not in codes_above(each)]
    assert sorted(codes) == sorted(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_only_those_that_are_not_raised_themselves_have_no_code() -> None:
    assert [each.__name__ for each in classes() if each.code is None] == ["LimitReached"]


@pytest.mark.parametrize("error", list(classes()))
def test_no_caller_is_told_to_repeat_its_own_mistake(error: type[GatewayError]) -> None:
    if error.status < 500 and error.status != 408 and error is not errors.RateLimited:
        assert not error.retryable


def test_a_message_is_what_str_gives_and_details_stay_inside() -> None:
    error = errors.ConnectFailed("Cannot be reached.", detail="10.0.0.1 refused", retry_after=3, param="model")
    assert str(error) == error.message == "Cannot be reached."
    assert (error.detail, error.retry_after, error.param) == ("10.0.0.1 refused", 3, "model")


def test_a_caller_that_is_gone_is_no_answer() -> None:
    assert not issubclass(errors.ClientDisconnected, GatewayError)
