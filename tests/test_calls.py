"""The values that travel: base URLs and origins, and what must not show in a repr."""

from __future__ import annotations

import pytest

from ai_gateway.calls import UNLIMITED, BaseURL, Caller, Origin, Reply, ReplyBody, Timeouts, UpstreamRequest


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "prefix"),
    [
        ("https://api.openai.com/v1", "https", "api.openai.com", 443, "/v1"),
        ("https://api.openai.com/v1/", "https", "api.openai.com", 443, "/v1"),
        ("https://api.openai.com", "https", "api.openai.com", 443, ""),
        ("https://api.openai.com//", "https", "api.openai.com", 443, ""),
        ("HTTPS://API.OpenAI.com:443/V1", "https", "api.openai.com", 443, "/V1"),
        ("http://localhost:11434/v1", "http", "localhost", 11434, "/v1"),
        ("http://ollama_1:11434", "http", "ollama_1", 11434, ""),
        ("http://127.0.0.1", "http", "127.0.0.1", 80, ""),
        ("http://[::1]:8080/v1", "http", "::1", 8080, "/v1"),
        ("http://[0:0:0:0:0:0:0:1]/v1", "http", "::1", 80, "/v1"),
        ("https://bücher.example/v1", "https", "xn--bcher-kva.example", 443, "/v1"),
        ("https://host.example.:8443", "https", "host.example.", 8443, ""),
        ("https://host/responses/v1", "https", "host", 443, "/responses/v1"),
        ("https://host/openai/deployments/gpt%205", "https", "host", 443, "/openai/deployments/gpt%205"),
    ],
)
def test_a_base_url_is_split(url: str, scheme: str, host: str, port: int, prefix: str) -> None:
    assert BaseURL.parse(url) == BaseURL(Origin(scheme, host, port), prefix)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "//api.openai.com/v1",
        "/v1",
        "https:",
        "https://",
        "https:///v1",
        "https://:443/v1",
        "ftp://api.openai.com/v1",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://host:0/v1",
        "https://host:65536/v1",
        "https://host:-1/v1",
        "https://host:port/v1",
        "https://host/v1?key=1",
        "https://host/v1#top",
        "https://user@host/v1",
        "https://user:password@host/v1",
        "https://host/v1@2",
        "https://host\\@evil/v1",
        "https://ho st/v1",
        "https://host/v 1",
        "https://host\n.evil/v1",
        "https://host/v1\r\nx-injected: 1",
        " https://host/v1",
        "https://host/\x00",
        "https://host/vé1",
        "https://.host/v1",
        "https://-host/v1",
        "https://..../v1",
        "https://*.example/v1",
        "https://host%00.example/v1",
        "https://[::1/v1",
        "https://::1/v1",
        "https://[::1]x/v1",
        "https://[fe80::1%25eth0]/v1",
        "https://[1.2.3.4]/v1",
        "https://[:::]/v1",
        "https://host/chat/completions",
        "https://host/v1/messages/",
        "https://" + "ü" * 64 + ".example/v1",
    ],
)
def test_what_is_not_a_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        BaseURL.parse(url)


@pytest.mark.parametrize("url", ["ftp://me:hunter2@host", "https://me:hunter2@host:x", "https://me:hunter2@host/v1?a"])
def test_a_refusal_never_shows_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="password") as refused:
        BaseURL.parse(url)
    assert "hunter2" not in str(refused.value)


def test_private_addresses_are_allowed_only_when_asked_for() -> None:
    assert not BaseURL.parse("http://10.0.0.1").origin.allow_private
    assert BaseURL.parse("http://10.0.0.1", allow_private=True).origin.allow_private


@pytest.mark.parametrize(
    ("origin", "value"),
    [
        (Origin("https", "api.openai.com", 443), b"api.openai.com"),
        (Origin("https", "api.openai.com", 80), b"api.openai.com:80"),
        (Origin("http", "localhost", 80), b"localhost"),
        (Origin("http", "localhost", 443), b"localhost:443"),
        (Origin("http", "::1", 80), b"[::1]"),
        (Origin("http", "2001:db8::1", 8080), b"[2001:db8::1]:8080"),
    ],
)
def test_the_host_header_names_a_port_that_is_not_the_schemes_own(origin: Origin, value: bytes) -> None:
    assert origin.host_header == value


def test_connections_to_a_private_host_are_never_shared_with_an_origin_that_may_not_be_private() -> None:
    assert Origin("http", "host", 80, allow_private=True) != Origin("http", "host", 80)


def test_a_caller_with_a_key_is_authenticated_and_one_with_a_credential_is_not() -> None:
    assert Caller(key_name="team-a").is_authenticated
    assert not Caller(credential=(b"authorization", b"Bearer sk-own")).is_authenticated
    assert not Caller().is_authenticated


def test_no_repr_shows_a_credential_or_a_body() -> None:
    caller = Caller(credential=(b"authorization", b"Bearer sk-canary"))
    request = UpstreamRequest(
        method="POST",
        origin=Origin("https", "host", 443),
        target=b"/v1/chat/completions",
        headers=[(b"authorization", b"Bearer sk-canary")],
        body=b"canary prompt",
    )
    reply = Reply(status=200, headers=[(b"content-type", b"text/plain")], body=b"canary answer")
    assert "canary" not in f"{caller!r} {request!r} {reply!r}"


class CountedBody(ReplyBody):
    """A body that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


async def close(reply: Reply) -> None:
    await reply.aclose()


def test_closing_a_reply_closes_its_body_and_bytes_need_none() -> None:
    body = CountedBody()
    for reply in (Reply(status=200, headers=[], body=body), Reply(status=200, headers=[], body=b"")):
        with pytest.raises(StopIteration):
            close(reply).send(None)
    assert body.closed == 1


def test_every_timeout_has_a_positive_default() -> None:
    timeouts = Timeouts()
    for name in Timeouts.__slots__:
        assert getattr(timeouts, name) > 0 or name in UNLIMITED
