"""A model field for what somebody or something is called, which every database tells apart as Python does.

MySQL and MariaDB take `Team-A` and `team-a` for one, mostly `é` and `e` too, many of them any two emoji, and a name
with a space at its end for the same without: two callers would share their sums. There a column of this field compares
byte by byte and holds every character, whatever the database's own collation is. PostgreSQL and SQLite do so anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import lookups

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    CharField = models.CharField[Any, str]
else:
    CharField = models.CharField

ON_MARIADB = "utf8mb4_nopad_bin"
ON_MYSQL = "utf8mb4_0900_bin"
"""The collations for that. Both know all characters; the usual `utf8mb4_bin` overlooks spaces at the end."""


class ExactCharField(CharField):
    """A short text that is equal to itself alone. Whoever asks without regard to case (`icontains`) still can."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """Describe the column."""
        found = super().db_parameters(connection)
        if connection.vendor == "mysql" and not self.db_collation:
            is_mariadb = connection.mysql_is_mariadb  # type: ignore[attr-defined]
            found["collation"] = ON_MARIADB if is_mariadb else ON_MYSQL
        return found


class _InLowerCase:
    """Compares both sides in lower case where the column is exact: the operators of MySQL leave it to the collation."""

    def process_lhs(self, compiler: Any, connection: Any, lhs: Any = None) -> Any:
        sql, parameters = super().process_lhs(compiler, connection, lhs)  # type: ignore[misc]
        return (f"LOWER({sql})" if connection.vendor == "mysql" else sql), parameters

    def get_rhs_op(self, connection: Any, rhs: str) -> str:
        rhs = f"LOWER({rhs})" if connection.vendor == "mysql" else rhs
        found: str = super().get_rhs_op(connection, rhs)  # type: ignore[misc]
        return found


@ExactCharField.register_lookup
class _IExact(_InLowerCase, lookups.IExact):
    pass


@ExactCharField.register_lookup
class _IContains(_InLowerCase, lookups.IContains):
    pass


@ExactCharField.register_lookup
class _IStartsWith(_InLowerCase, lookups.IStartsWith):
    pass


@ExactCharField.register_lookup
class _IEndsWith(_InLowerCase, lookups.IEndsWith):
    pass
