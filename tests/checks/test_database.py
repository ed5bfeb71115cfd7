"""What checks say of the database."""

from __future__ import annotations

from pathlib import Path

from ai_gateway import checks
from tests.checks.ids import ids_in
from tests.checks.site import ROOT, Site


def test_an_encryption_key_that_is_none(site: Site) -> None:
    site.gateway(ENCRYPTION_KEYS=["not-a-key-but-a-canary"])
    assert site.ids() == {"E024"}
    assert "--generate" in site.hint()


STORED = {"E024", "E080", "E081", "W082", "W083", "W084", "W085", "E086", "E087"}
"""What is said of encryption and of the database; tests/control/test_stored.py tries out the latter."""


ON_MYSQL = {"W088", "W089"}
"""What is said of MySQL and MariaDB; tests/mariadb/test_server.py tries it out."""


def test_what_is_said_of_the_database_is_tried_out_with_one() -> None:
    folder = Path(checks.__file__).parent
    assert {name.removeprefix("ai_gateway.") for name in ids_in(folder / "mysql.py")} == ON_MYSQL
    assert {name.removeprefix("ai_gateway.") for name in ids_in(folder / "database.py")} == STORED
    tried = ids_in(ROOT / "tests" / "control" / "test_stored.py")
    assert {f"ai_gateway.{name}" for name in STORED - {"E024"}} <= tried
