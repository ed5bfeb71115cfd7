"""Checks of guardrails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.checks.site import Site


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"BACKEND": "no.such.function"}, "No module"),
        ({"BACKEND": "os.nothing"}, "nothing"),
        ({"BACKEND": "secrecy"}, "neither a dotted path"),
        ({"BACKEND": "os.sep"}, "neither a Guardrail nor"),
        ({"BACKEND": "redaction", "OPTIONS": {"kinds": ["SHOE_SIZE"]}}, "SHOE_SIZE"),
        ({"BACKEND": "redaction", "OPTIONS": {"kind": ["EMAIL"]}}, "kind"),
        ({"BACKEND": "patterns", "OPTIONS": {"deny": ["("]}}, "not a regular expression"),
        ({"BACKEND": "patterns", "OPTIONS": {"deny": ["(a+)+b"]}}, "too long"),
        ({"BACKEND": "size"}, "no limit"),
    ],
)
def test_a_guardrail_that_cannot_be_had(site: Site, entry: dict[str, Any], said: str) -> None:
    site.gateway(GUARDRAILS={"mine": entry})
    assert site.ids() == {"E151"}
    assert said in site.messages()[0].msg


def test_a_route_with_a_guardrail_that_there_is_not(site: Site) -> None:
    site.gateway(ROUTES={"fast": {"targets": ["openai/m"], "guardrails": ["gone"]}})
    assert site.ids() == {"E152"}
    assert "'gone'" in site.messages()[0].msg
