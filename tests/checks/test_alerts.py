"""Checks of webhooks."""

from __future__ import annotations

import pytest

from tests.checks.site import Site


@pytest.mark.parametrize("secret", ["env:NOBODY_SET_THIS", "file:/nowhere/to/be/found", "whsec_no base64"])
def test_a_webhook_that_cannot_be_signed(site: Site, secret: str) -> None:
    site.gateway(ALERTS={"webhooks": [{"url": "https://there", "secret": secret}]})
    assert site.ids() == {"E138"}


@pytest.mark.parametrize(
    ("webhook", "ids"),
    [
        ({"url": "https://there", "secret": "s"}, set()),
        ({"url": "http://there", "secret": "s"}, {"W139"}),
        ({"url": "https://there"}, {"W139"}),
    ],
)
def test_a_webhook_that_cannot_be_trusted(site: Site, webhook: dict[str, str], ids: set[str]) -> None:
    site.gateway(ALERTS={"webhooks": [webhook]})
    assert site.ids(deploy=True) & {"W139"} == ids
