"""Addresses that must not be called, and secrets that must not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartGateway, default_settings
from tests.gateway_process import Door, GatewayProcess
from tests.raw_client import RawClient
from tests.upstream import End, Upstream, event_stream, json_answer, play
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, DIALECTS

PRIVATE = [
    "http://127.0.0.1:{port}/v1",
    "http://localhost:{port}/v1",
    "http://[::1]:{port}/v1",
    "http://[::ffff:127.0.0.1]:{port}/v1",
    "http://0.0.0.0:{port}/v1",
    "http://2130706433:{port}/v1",
    "http://0x7f.1:{port}/v1",
    "http://127.1:{port}/v1",
    "http://169.254.169.254/v1",
    "http://10.0.0.1/v1",
    "http://192.168.0.1/v1",
    "http://100.64.0.1/v1",
    "http://[fd00::1]/v1",
    "http://[fe80::1]/v1",
]


@pytest.mark.usefixtures("quiescent")
def test_a_private_address_is_refused_unless_it_is_allowed(start_gateway: StartGateway, upstream: Upstream) -> None:
    """T57: whatever way it is written in, and by what it resolves to."""
    urls = [url.format(port=upstream.port) for url in PRIVATE]
    providers = {
        f"private-{number}": {"BACKEND": "custom", "OPTIONS": {"base_url": url, "api_key": "sk-canary"}}
        for number, url in enumerate(urls)
    }
    opened = upstream.opened
    raw = RawClient(start_gateway(PROVIDERS=providers, TIMEOUTS={"connect": 2.0}).port)
    for name, url in zip(providers, urls, strict=True):
        answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("x-provider", name)])
        assert answer.status == 502, url
        assert answer.json()["error"]["code"] in ("upstream_address_refused", "upstream_unreachable"), url
        assert (
            answer.header("x-should-retry") == "false" or answer.json()["error"]["code"] != "upstream_address_refused"
        )
    assert upstream.opened == opened


@pytest.mark.usefixtures("quiescent")
def test_one_setting_allows_private_addresses_everywhere(start_gateway: StartGateway, upstream: Upstream) -> None:
    options = {"base_url": f"http://localhost:{upstream.port}/v1", "api_key": "sk-x"}
    gateway = start_gateway(PROVIDERS={"openai": {"OPTIONS": options}}, ALLOW_PRIVATE_UPSTREAMS=True)
    assert RawClient(gateway.port).post(CHAT_PATH, CHAT, [BEARER]).status == 200
    assert len(upstream.requests) == 1


CANARIES = {
    "stored": "sk-canary-stored-0001",
    "gateway": "gw_canary-gateway-0002",
    "own": "sk-canary-own-0003",
    "query": "canary-query-0004",
    "prompt": "canary-prompt-0005",
    "completion": "canary-completion-0006",
    "cookie": "canary-cookie-0007",
}


def canary_settings(upstream: Upstream) -> dict[str, Any]:
    """The default settings with a canary for every secret."""
    settings = default_settings(upstream)
    for provider in ("openai", "anthropic", "gemini", "groq"):
        settings["PROVIDERS"][provider]["OPTIONS"]["api_key"] = CANARIES["stored"]
    return {**settings, "KEYS": {"canary": CANARIES["gateway"]}, "KEEP_ALIVE_INTERVAL": 0.1, "TIMEOUTS": {"idle": 0.3}}


def test_no_secret_stands_in_the_log_or_in_an_error(door: Door, upstream: Upstream, tmp_path: Path) -> None:
    """T69: after calls that succeed and calls that fail in many ways, with everything logged."""
    logging = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "DEBUG"},
    }
    site = {"LOGGING": logging}
    gateway = GatewayProcess(
        door, canary_settings(upstream), tmp_path / "log", site=site, arguments=("--log-level", "debug")
    )
    try:
        outputs = call_in_many_ways(RawClient(gateway.port), upstream)
    finally:
        gateway.stop()
    log = gateway.log()
    for name, canary in CANARIES.items():
        assert canary not in log, name
        assert all(canary.encode() not in output for output in outputs), name


def call_in_many_ways(raw: RawClient, upstream: Upstream) -> list[bytes]:
    """Make calls; give the heads of all answers, and the bodies of those that are the gateway's own."""
    key = ("authorization", f"Bearer {CANARIES['gateway']}")
    own = ("authorization", f"Bearer {CANARIES['own']}")
    wrong = ("authorization", f"Bearer {CANARIES['gateway']}-not")
    cookie = ("cookie", f"sessionid={CANARIES['cookie']}")
    outputs: list[bytes] = []
    for dialect in DIALECTS:
        body = {**dialect.stream_body, "secret": CANARIES["prompt"]}
        path = dialect.stream_path + ("&" if "?" in dialect.stream_path else "?") + f"key={CANARIES['query']}"
        for headers in ([key, cookie], [own, cookie], [wrong, cookie], [cookie], [key, ("x-api-key", CANARIES["own"])]):
            upstream.answer(json_answer({"said": CANARIES["completion"]}))
            outputs.append(raw.post(path, body, headers).raw_head)
            upstream.answer(play(End.CLOSE))
            refused = raw.post(path, body, headers)
            outputs += [refused.raw_head, refused.body]
            upstream.answer(event_stream(dialect.events[0], b"data: " + CANARIES["completion"].encode(), End.STALL))
            broken = raw.post(path, body, headers)
            outputs += [broken.raw_head, broken.body.replace(dialect.events[0], b"")]
        for broken_body in (b'{"secret": "' + CANARIES["prompt"].encode(), b'{"model": 1}'):
            refused = raw.post(path, broken_body, [key])
            outputs += [refused.raw_head, refused.body]
        refused = raw.post(path, body, [own, ("x-provider", "unreachable")])
        outputs += [refused.raw_head, refused.body]
    upstream.answer(json_answer({"error": {"message": f"Incorrect API key provided: {CANARIES['stored']}"}}, 401))
    refused = raw.post(CHAT_PATH, CHAT, [key])
    return [*outputs, refused.raw_head, refused.body, raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [wrong]).body]
