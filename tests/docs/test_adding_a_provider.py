"""The provider that docs/adding-a-provider.md writes is a provider, and is asked as the page says."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import respx
from django.test import AsyncClient, override_settings

from ai_gateway.errors import UnsupportedDialect
from ai_gateway.providers import Provider, build_provider
from tests.factories import run
from tests.providers.samples import TEAM, make_call

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "adding-a-provider.md").read_text(encoding="utf-8")
CLASS, SETTINGS = re.findall(r"^```python\n(.*?)^```$", PAGE.split("## By a class", 1)[1], re.M | re.S)
GATEWAY = ast.literal_eval(SETTINGS.removeprefix("AI_GATEWAY = "))
KEY = "gw_0123456789abcdefghij"


@pytest.fixture(autouse=True)
def acme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module of the page, where its settings look for it."""
    module = ModuleType("acme")
    monkeypatch.setitem(sys.modules, "acme", module)
    monkeypatch.setenv("ACME_API_KEY", "acme-secret")
    exec(compile(CLASS, "acme.py", "exec"), vars(module))


def provider() -> Provider:
    return build_provider("acme", GATEWAY["PROVIDERS"]["acme"])


def test_its_fields_are_options() -> None:
    with pytest.raises(ValueError, match="needs the option 'project'"):
        build_provider("acme", {"BACKEND": "acme.AcmeProvider"})
    assert provider().name == "acme"


def test_what_it_does_not_have_is_refused() -> None:
    with pytest.raises(UnsupportedDialect, match="no batches"):
        provider().build(make_call("/v1/batches"), TEAM, None)


@respx.mock
def test_it_is_asked_as_the_page_says() -> None:
    route = respx.post("https://api.acme.example/v2/generate").mock(return_value=httpx.Response(200, json={"id": "x"}))
    extra = {
        "KEYS": {"team": KEY},
        "TRANSPORT": {"BACKEND": "ai_gateway.transports.httpx.HttpxTransport"},
        "ALLOW_PRIVATE_UPSTREAMS": True,
    }
    call = {"model": "acme/acme-large", "messages": []}
    with override_settings(AI_GATEWAY={**GATEWAY, **extra}):
        headers = {"authorization": f"Bearer {KEY}"}
        post = AsyncClient().post("/v1/chat/completions", call, content_type="application/json", headers=headers)
        response = run(post)
    sent = route.calls.last.request
    assert response.status_code == 200
    assert (sent.headers["api-key"], sent.headers["x-acme-project"]) == ("acme-secret", "blue")
    assert "authorization" not in sent.headers
    assert b'"acme-large"' in sent.content
