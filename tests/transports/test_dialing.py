"""Which addresses are dialed where private ones are not allowed."""

from __future__ import annotations

import pytest

from ai_gateway.transports.dialing import is_public

PUBLIC = (
    "8.8.8.8",
    "104.18.6.192",
    "2001:4860:4860::8888",
    "2606:4700::6812:6c0",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
)
PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("::1", "::", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "5f00::1", "2001::1"),
    # Addresses of IPv4 in those of IPv6, by ways that are in use and by some that are not any more.
    *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b:1::7f00:1", "::7f00:1", "::ffff:0:7f00:1"),
    # The host of a virtual machine at Azure.
    *("168.63.129.16", "::ffff:168.63.129.16"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not(address: str) -> None:
    assert not is_public(address)
