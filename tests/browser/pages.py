"""Every page for people, a line for each. A new page gets a line here: it is walked over then, in all looks.

The paths are filled in with what is in the database of the demo (`Site.demo`).
"""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """A page, and who looks at it. One that the documentation shows has the name of its image."""

    path: str
    who: str = "boss"
    image: str = ""
    height: int = 800
    """Of the image."""

    @property
    def name(self) -> str:
        """Name a screenshot of it."""
        return self.path.partition("?")[0].strip("/").replace("/", "-").replace("{", "").replace("}", "")


ADMIN = "/admin/ai_gateway"

PAGES = (
    Page("/admin/"),
    Page(f"{ADMIN}/"),
    Page(f"{ADMIN}/provider/"),
    Page(f"{ADMIN}/provider/add/"),
    Page(f"{ADMIN}/provider/{{provider}}/change/"),
    Page(f"{ADMIN}/provider/{{provider}}/history/"),
    Page(f"{ADMIN}/provider/{{provider}}/delete/"),
    Page(f"{ADMIN}/provider/{{provider}}/test/"),
    Page(f"{ADMIN}/providercredential/"),
    Page(f"{ADMIN}/providercredential/add/"),
    Page(f"{ADMIN}/route/"),
    Page(f"{ADMIN}/route/add/"),
    Page(f"{ADMIN}/route/{{route}}/change/"),
    Page(f"{ADMIN}/route/{{route}}/history/"),
    Page(f"{ADMIN}/route/{{route}}/delete/"),
    Page(f"{ADMIN}/route/{{route}}/test/"),
    Page(f"{ADMIN}/route/explain/"),
    Page(f"{ADMIN}/route/explain/?model=demo-smart", image="explain"),
    Page(f"{ADMIN}/virtualkey/"),
    Page(f"{ADMIN}/virtualkey/add/"),
    Page(f"{ADMIN}/virtualkey/{{key}}/change/"),
    Page(f"{ADMIN}/virtualkey/{{key}}/history/"),
    Page(f"{ADMIN}/virtualkey/{{key}}/delete/"),
    Page(f"{ADMIN}/virtualkey/{{key}}/rotate/"),
    Page(f"{ADMIN}/virtualkey/{{key}}/revoke/"),
    Page(f"{ADMIN}/limit/", image="limits"),
    Page(f"{ADMIN}/limit/add/"),
    Page(f"{ADMIN}/limit/{{limit}}/change/"),
    Page(f"{ADMIN}/limit/{{limit}}/history/"),
    Page(f"{ADMIN}/limit/{{limit}}/delete/"),
    Page(f"{ADMIN}/price/"),
    Page(f"{ADMIN}/price/add/"),
    Page(f"{ADMIN}/price/unpriced/"),
    Page(f"{ADMIN}/price/{{price}}/change/"),
    Page(f"{ADMIN}/price/{{price}}/history/"),
    Page(f"{ADMIN}/price/{{price}}/delete/"),
    Page(f"{ADMIN}/provider/changes/"),
    Page(f"{ADMIN}/providercredential/changes/"),
    Page(f"{ADMIN}/route/changes/"),
    Page(f"{ADMIN}/virtualkey/changes/"),
    Page(f"{ADMIN}/limit/changes/"),
    Page(f"{ADMIN}/price/changes/"),
    Page(f"{ADMIN}/usagerecord/", image="explorer-list"),
    Page(f"{ADMIN}/usagerecord/{{record}}/change/", image="explorer-record"),
    Page(f"{ADMIN}/usagedaily/"),
    Page(f"{ADMIN}/usagedaily/{{day}}/change/"),
    Page(f"{ADMIN}/dashboard/", image="dashboard", height=1240),
    Page(f"{ADMIN}/live/", image="live"),
    Page(f"{ADMIN}/provider/health/"),
    Page(f"{ADMIN}/alert/"),
    Page(f"{ADMIN}/breakerevent/"),
    Page(f"{ADMIN}/breakerevent/{{breaker_event}}/change/"),
    Page(f"{ADMIN}/playground/"),
    Page("/portal/", "demo-ada"),
    Page("/portal/new/", "demo-ada"),
    Page("/portal/keys/{public_id}/revoke/", "demo-ada"),
    Page("/portal/usage/", "demo-ada", image="portal-usage"),
    Page("/portal/models/", "demo-ada"),
    Page("/portal/playground/", "demo-ada"),
    Page("/portal/connect/", "demo-ada"),
    Page("/portal/connect/?model=demo-smart", "demo-ada"),
)
