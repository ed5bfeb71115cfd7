"""Bedrock: three APIs on a host per region, and requests that are signed.

The signature is computed a second time here, by the steps of "Create a signed AWS API request" in the documentation of
AWS.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import pytest

from ai_gateway.calls import UpstreamRequest
from ai_gateway.errors import BadRequest, InvalidCredential, ProviderNotConfigured
from ai_gateway.providers import CATALOG, Provider, build_provider
from tests.providers.samples import NOBODY, TEAM, header, make_call, passed_through, pieces, url

CONVERSE = "/v1/model/anthropic.claude-haiku-4-5:0/converse"

OWN_KEYS = [
    ("x-aws-access-key-id", "AKIDEXAMPLE"),
    ("x-aws-secret-access-key", "wJalrXUtnFEMI/K7MDENG"),
    ("x-aws-region", "eu-west-1"),
]
STORED_KEYS = {"access_key_id": "AKIDSTORED", "secret_access_key": "stored-secret", "region": "us-west-2"}


def bedrock(**options: Any) -> Provider:
    return build_provider("bedrock", {"OPTIONS": options})


def build(
    provider: Provider, headers: Iterable[tuple[str, str]] = (), path: str = CONVERSE, query: str = ""
) -> UpstreamRequest:
    """A request of somebody who is passed through with these headers."""
    return provider.build(make_call(path, {"messages": []}, headers=headers, query=query), NOBODY, None)


def expected_signature(request: UpstreamRequest, secret: str, region: str) -> str:
    """Sign a request by hand, with the headers that its own signature names."""
    authorization = header(request, "authorization") or ""
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    fields = {name.decode(): value.decode() for name, value in request.headers}
    fields["host"] = request.origin.host_header.decode()
    path, _, query = request.target.decode().partition("?")
    assert isinstance(request.body, bytes)
    canonical = "\n".join(
        (
            request.method,
            quote(path, safe="/~"),
            "&".join(sorted(query.split("&"))),
            *(f"{name}:{fields[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    moment = fields["x-amz-date"]
    scope = f"{moment[:8]}/{region}/bedrock/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def signature_of(request: UpstreamRequest) -> str:
    return (header(request, "authorization") or "").partition("Signature=")[2]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (CONVERSE, "/model/anthropic.claude-haiku-4-5%3A0/converse"),
        ("/v1/model/m/converse-stream", "/model/m/converse-stream"),
        ("/v1/model/m/invoke", "/model/m/invoke"),
        ("/v1/model/m/invoke-with-response-stream", "/model/m/invoke-with-response-stream"),
        ("/v1/guardrail/g/version/1/apply", "/guardrail/g/version/1/apply"),
        ("/v1/models", "/openai/v1/models"),
        ("/v1/chat/completions", "/openai/v1/chat/completions"),
        ("/v1/messages", "/anthropic/v1/messages"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    request = bedrock(api_key="bedrock-key").build(make_call(path, {"model": "m"}), TEAM, None)
    assert url(request) == f"https://bedrock-runtime.us-east-1.amazonaws.com{expected}"
    assert header(request, "authorization") == "Bearer bedrock-key"


def test_a_caller_is_passed_through_with_its_own_api_key_in_its_own_region() -> None:
    call = make_call(body={"model": "m"}, headers=[("x-aws-region", "ap-southeast-2")])
    request = bedrock().build(call, passed_through("authorization", "Bearer own-key"), None)
    assert request.origin.host == "bedrock-runtime.ap-southeast-2.amazonaws.com"
    assert header(request, "authorization") == "Bearer own-key"


def test_a_callers_own_access_keys_sign() -> None:
    request = build(bedrock(api_key="stored"), OWN_KEYS, query="b=2&a=1")
    assert request.origin.host == "bedrock-runtime.eu-west-1.amazonaws.com"
    authorization = header(request, "authorization") or ""
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request" in authorization
    assert "SignedHeaders=content-type;host;x-amz-date," in authorization
    assert signature_of(request) == expected_signature(request, "wJalrXUtnFEMI/K7MDENG", "eu-west-1")
    assert not any(name.startswith(b"x-aws-") for name, _ in request.headers)


def test_a_session_token_is_signed_too() -> None:
    request = build(bedrock(), [*OWN_KEYS, ("x-aws-session-token", "FwoGZXIvYXdz//token==")])
    assert header(request, "x-amz-security-token") == "FwoGZXIvYXdz//token=="
    assert "x-amz-security-token," in (header(request, "authorization") or "")
    assert signature_of(request) == expected_signature(request, "wJalrXUtnFEMI/K7MDENG", "eu-west-1")


def test_a_signature_for_another_host_is_replaced() -> None:
    request = build(bedrock(), [*OWN_KEYS, ("x-amz-date", "20200101T000000Z"), ("x-amz-security-token", "old")])
    assert header(request, "x-amz-date") != "20200101T000000Z"
    assert header(request, "x-amz-security-token") is None


def test_a_request_without_a_content_type_is_signed_without_one() -> None:
    call = make_call("/v1/async-invoke", method="GET", headers=OWN_KEYS)
    request = bedrock().build(call, NOBODY, None)
    assert "SignedHeaders=host;x-amz-date," in (header(request, "authorization") or "")
    assert signature_of(request) == expected_signature(request, "wJalrXUtnFEMI/K7MDENG", "eu-west-1")


def test_stored_access_keys_sign_for_a_holder_of_a_gateway_key_only() -> None:
    provider = bedrock(**STORED_KEYS)
    assert provider.is_configured
    call = make_call(CONVERSE, {"messages": []}, headers=OWN_KEYS)
    request = provider.build(call, TEAM, None)
    assert request.origin.host == "bedrock-runtime.us-west-2.amazonaws.com", "a stored credential stays in its region"
    assert "Credential=AKIDSTORED/" in (header(request, "authorization") or "")
    assert signature_of(request) == expected_signature(request, "stored-secret", "us-west-2")
    assert "AKIDEXAMPLE" in (header(provider.build(call, NOBODY, None), "authorization") or "")
    with pytest.raises(InvalidCredential):
        provider.build(make_call(CONVERSE, {"messages": []}), NOBODY, None)


def test_an_api_key_comes_before_stored_access_keys() -> None:
    request = bedrock(**STORED_KEYS, api_key="k").build(make_call(body={"model": "m"}), TEAM, None)
    assert header(request, "authorization") == "Bearer k"


def test_half_a_pair_of_keys_is_not_enough() -> None:
    assert not bedrock(access_key_id="AKID").is_configured
    assert not CATALOG["bedrock"].is_configured


@pytest.mark.parametrize(
    "region",
    ["evil.com/", "us-east-1.evil.com", "us-east-1#", "US-EAST-1", "us_east_1", "us-east-", "", "a@b", "us-east-1\xb2"],
)
def test_a_region_is_not_taken_on_trust(region: str) -> None:
    own = [*OWN_KEYS[:2], ("x-aws-region", region)]
    with pytest.raises(BadRequest, match="x-aws-region"):
        build(bedrock(), own)
    with pytest.raises(ValueError, match="region"):
        bedrock(region=region)


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "ap-southeast-12", "eusc-de-east-1", "mx-central-1"])
def test_regions(region: str) -> None:
    assert bedrock(region=region).base.origin.host == f"bedrock-runtime.{region}.amazonaws.com"


def test_a_base_url_stays_whatever_the_region() -> None:
    request = build(bedrock(base_url="https://vpce-1.example.com/x"), OWN_KEYS)
    assert url(request).startswith("https://vpce-1.example.com/x/model/")
    assert signature_of(request) == expected_signature(request, "wJalrXUtnFEMI/K7MDENG", "eu-west-1")


@pytest.mark.parametrize("headers", [OWN_KEYS[:1], [*OWN_KEYS[:1], ("x-aws-secret-access-key", "with space")]])
def test_incomplete_access_keys_are_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidCredential, match="x-aws-secret-access-key"):
        build(bedrock(), headers)


def test_an_upload_cannot_be_signed() -> None:
    call = make_call("/v1/files", pieces(b"x"), headers=OWN_KEYS)
    with pytest.raises(BadRequest, match="JSON body"):
        bedrock().build(call, NOBODY, None)


def test_without_botocore_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(ProviderNotConfigured, match=r"django-ai-gateway\[bedrock\]"):
        build(bedrock(), OWN_KEYS)


def test_no_repr_shows_a_secret() -> None:
    provider = bedrock(**STORED_KEYS, session_token="stored-token")
    assert "stored-" not in repr(provider)
