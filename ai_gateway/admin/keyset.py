"""Pages of a list that is too long for page numbers: each goes on behind the last row of the one before.

A page number makes the database read and throw away every row before it. A row to begin behind costs the same on the
first page and on the hundred thousandth. The address of a page says which row that is, by its time and its id.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from ai_gateway.admin.base import UncountedChangeList
from ai_gateway.models.base import as_stored, as_told

AFTER, BEFORE = "after", "before"
"""The parameters that name the row which a page begins behind, and the one which it ends in front of."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cursor_of(row: Any) -> str:
    """Write where a row is in the order of the list."""
    return f"{(as_told(row.started_at) - EPOCH) // timedelta(microseconds=1)}.{row.pk.hex}"


def read_cursor(text: str) -> tuple[datetime, UUID]:
    """Read where a row is. Raises IncorrectLookupParameters."""
    micros, _, id = text.partition(".")
    try:
        return as_stored(EPOCH + timedelta(microseconds=int(micros))), UUID(hex=id)
    except (ValueError, OverflowError) as error:
        raise IncorrectLookupParameters(str(error)) from error


def beyond(rows: QuerySet[Any], cursor: tuple[datetime, UUID], *, is_older: bool) -> QuerySet[Any]:
    """Narrow rows to those that are older than the one at the cursor, or younger. The first condition is for the index
    of times, which the second one alone would not use."""
    at, id = cursor
    if is_older:
        return rows.filter(started_at__lte=at).filter(Q(started_at__lt=at) | Q(pk__lt=id))
    return rows.filter(started_at__gte=at).filter(Q(started_at__gt=at) | Q(pk__gt=id))


class KeysetChangeList(UncountedChangeList):
    """A page of calls, in the order of their times."""

    has_previous = False
    own_params: frozenset[str] = frozenset((AFTER, BEFORE))
    """Parameters that are no lookups."""

    def get_filters_params(self, params: Any = None) -> Any:
        """Leave out what is no filter of the database."""
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in self.own_params}

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page, and one more."""
        size, given = self.list_per_page, self.params
        is_newest_first = str(self.model_admin.get_ordering(request)[0]).startswith("-")
        after, before = given.get(AFTER), given.get(BEFORE)
        rows = self.queryset
        if after:
            rows = beyond(rows, read_cursor(after), is_older=is_newest_first)
        elif before:
            rows = beyond(rows, read_cursor(before), is_older=not is_newest_first).reverse()
        found = list(rows[: size + 1])
        has_more, found = len(found) > size, found[:size]
        if before and not after:
            found.reverse()
            self.has_previous, self.has_next = has_more, True
        else:
            self.has_previous, self.has_next = bool(after), has_more
        self.result_list = found
        self.result_count = self.full_result_count = len(found)
        self.show_full_result_count = self.show_admin_actions = self.can_show_all = False
        self.multi_page = False
        self.paginator = Paginator(found, size)

    @property
    def previous_query(self) -> str:
        """The query string of the page before; of the first one, if this one is empty."""
        return self._page({BEFORE: cursor_of(self.result_list[0])} if self.result_list else {})

    @property
    def next_query(self) -> str:
        """The query string of the next page."""
        return self._page({AFTER: cursor_of(self.result_list[-1])} if self.result_list else {})

    @property
    def first_query(self) -> str:
        """The query string of the first page."""
        return self._page({})

    def _page(self, place: dict[str, str]) -> str:
        return self.get_query_string(place, remove=sorted({AFTER, BEFORE} - set(place)))

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Write a query string. What changes the filters begins with the first page."""
        keeps_place = new_params is not None and not {AFTER, BEFORE}.isdisjoint(new_params)
        dropped = [] if keeps_place else [AFTER, BEFORE]
        return super().get_query_string(new_params, [*(remove or ()), *dropped])
