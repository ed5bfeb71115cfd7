"""Checks of what a process can hold."""

from __future__ import annotations

from tests.checks.site import Site


def test_more_calls_than_the_system_has_files_for(site: Site) -> None:
    site.gateway(MAX_CALLS=50_000)
    assert site.ids(deploy=True) == {"W112"}
    assert site.ids() == set()
    assert "LimitNOFILE=101000" in next(str(message.hint) for message in site.messages(deploy=True))
    site.gateway(MAX_CALLS=0)
    assert site.ids(deploy=True) == set()
