"""Checks of single keys of AI_GATEWAY."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ai_gateway import conf
from ai_gateway.checks.settings import RULES
from tests.checks.site import Site
from tests.checks.values import RIGHT, WRONG

if TYPE_CHECKING:
    from pytest_django import Settings


def test_every_key_has_a_rule_with_an_id_of_its_own() -> None:
    assert set(RULES) == conf.KEYS
    assert len({rule.id for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("key", sorted(conf.KEYS))
def test_the_default_and_the_example_of_a_key_keep_its_rule(key: str, settings: Settings) -> None:
    settings.AI_GATEWAY = {}
    # Typed already: their defaults are those of the dataclasses.
    if key not in ("TIMEOUTS", "RETRIES", "QUEUE", "BREAKERS", "BODY_LOGGING", "RESPONSE_CACHE"):
        assert RULES[key].accepts(getattr(conf.settings, key))
    assert RULES[key].accepts(eval(RULES[key].example, {}))


@pytest.mark.parametrize("value", [None, [], "PROVIDERS", [("PROVIDERS", {})]])
def test_the_setting_must_be_a_dict(site: Site, value: Any) -> None:
    site.settings.AI_GATEWAY = value
    assert site.ids() == {"E001"}


@pytest.mark.parametrize(
    ("name", "meant"), [("PROVIDER", "PROVIDERS"), ("timeouts", "TIMEOUTS"), ("MAX_BODY_SIZE", "MAX_BODY_BYTES")]
)
def test_an_unknown_key_and_the_one_that_was_meant(site: Site, name: str, meant: str) -> None:
    site.gateway(**{name: 1})
    assert site.ids() == {"E002"}
    assert f'"{meant}"' in site.hint()


def test_every_key_is_tried_out() -> None:
    assert conf.KEYS == set(WRONG) == {*RIGHT, "PREFIX"}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (_, values) in WRONG.items() for value in values])
def test_a_key_with_a_wrong_value(site: Site, key: str, value: Any) -> None:
    site.gateway(**{key: value})
    assert site.ids(deploy=True) == {WRONG[key][0]}
    assert f'"{key}": ' in site.hint()


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in RIGHT.items() for value in values])
def test_a_key_with_a_right_value(site: Site, key: str, value: Any) -> None:
    site.gateway(**{key: value})
    assert site.ids(deploy=True) == set()
