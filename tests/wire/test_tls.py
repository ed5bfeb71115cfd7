"""Upstreams over TLS: certificates are verified, against the authority that is configured."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import StartGateway
from tests.raw_client import RawClient
from tests.upstream import Upstream, event_stream
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH

pytestmark = [
    pytest.mark.usefixtures("quiescent"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate"),
]


class SecureUpstream(NamedTuple):
    """The fake upstream behind a certificate for `localhost`."""

    port: int
    certificate: str


@pytest.fixture(scope="session")
def secure_upstream(_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> SecureUpstream:
    """Listen with TLS, under a certificate that nobody trusts unless told to."""
    folder: Path = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return SecureUpstream(_upstream.listen(context), str(certificate))


def client(start_gateway: StartGateway, secure_upstream: SecureUpstream, host: str, authority: str | None) -> RawClient:
    """A caller of a gateway whose provider is behind TLS."""
    base_url = f"https://{host}:{secure_upstream.port}/v1"
    options = {"base_url": base_url, "allow_private": True, "api_key": "sk-x"}
    transport = {"OPTIONS": {"ca_file": authority}} if authority else {}
    return RawClient(start_gateway(PROVIDERS={"openai": {"OPTIONS": options}}, TRANSPORT=transport).port)


def test_a_trusted_certificate_is_accepted(
    start_gateway: StartGateway, upstream: Upstream, secure_upstream: SecureUpstream
) -> None:
    raw = client(start_gateway, secure_upstream, "localhost", secure_upstream.certificate)
    for _ in range(2):
        assert raw.post(CHAT_PATH, CHAT, [BEARER]).json() == {"ok": True}
    upstream.answer(event_stream(*CHAT_DIALECT.events))
    assert raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).body == b"".join(CHAT_DIALECT.events)
    assert len({request.connection for request in upstream.requests}) == 1


@pytest.mark.parametrize(("host", "is_configured"), [("localhost", False), ("127.0.0.1", True)])
def test_a_certificate_that_is_not_trusted_or_for_another_name_is_refused(
    start_gateway: StartGateway, upstream: Upstream, secure_upstream: SecureUpstream, host: str, is_configured: bool
) -> None:
    raw = client(start_gateway, secure_upstream, host, secure_upstream.certificate if is_configured else None)
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
    assert not upstream.requests
