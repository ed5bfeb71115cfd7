"""Names on a server that takes `A` for `a`: those that differ at all are never taken for one."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connection, models

from ai_gateway.exact_text import ON_MARIADB, ON_MYSQL, ExactCharField
from ai_gateway.models import Price, Route, UsageDaily, UsageRecord
from tests.mysql_server import is_mariadb
from tests.usage.rows import record, save

ALIKE = [
    pytest.param("Team-A", "team-a", id="case"),
    pytest.param("café", "cafe", id="accents"),
    pytest.param("🦊", "🐻", id="emoji"),
    pytest.param("team", "team ", id="a space at the end"),
    pytest.param("straße", "strasse", id="letters that sort alike"),
]


def test_every_column_for_a_name_is_exact() -> None:
    """One with choices holds nothing but those."""
    fields = [field for model in apps.get_app_config("ai_gateway").get_models() for field in model._meta.local_fields]
    names = [field for field in fields if isinstance(field, models.CharField) and not field.choices]
    assert names
    assert [field for field in names if not isinstance(field, ExactCharField)] == []


@pytest.mark.usefixtures("site")
class TestOnTheServer:
    def test_the_tables_are_made_so(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, column_name, collation_name FROM information_schema.columns "
                "WHERE table_schema = DATABASE()"
            )
            found = {(table, column): collation for table, column, collation in cursor.fetchall()}
        exact = ON_MARIADB if is_mariadb() else ON_MYSQL
        for model in apps.get_app_config("ai_gateway").get_models():
            for field in model._meta.local_fields:
                if isinstance(field, ExactCharField):
                    assert found[model._meta.db_table, field.column] == exact

    @pytest.mark.parametrize(("one", "other"), ALIKE)
    def test_rows_of_both_names_can_be_there_and_each_is_found_by_its_own(self, one: str, other: str) -> None:
        rows = {name: Route.objects.create(name=name) for name in (one, other)}
        for name, row in rows.items():
            assert Route.objects.get(name=name) == row
            assert Route.objects.get(name__in=[name]) == row

    @pytest.mark.parametrize(("one", "other"), ALIKE)
    def test_what_was_used_is_summed_up_apart(self, one: str, other: str) -> None:
        for name in (one, other):
            save(record(served_model=name, provider=name, route=name, key_name=name))
        for rows in (UsageRecord.objects, UsageDaily.objects):
            assert rows.by_model(one).totals().requests == 1
            assert rows.by_provider(one).totals().requests == 1
            assert rows.by_route(one).totals().requests == 1
            assert rows.by_key(one).totals().requests == 1
            for what in ("model", "provider", "route", "key"):
                found = {each.by[what]: each.totals.requests for each in rows.all().group_totals(what)}
                assert (found[one], found[other]) == (1, 1)

    @pytest.mark.parametrize(("one", "other"), ALIKE)
    def test_tags_are_told_apart(self, one: str, other: str) -> None:
        save(record(tags=[one]), record(tags=[other]))
        assert UsageRecord.objects.by_tag(one).totals().requests == 1
        assert {each.by["tag"] for each in UsageRecord.objects.all().tag_totals()} == {one, other}

    @pytest.mark.parametrize(
        "lookup", [{"iexact": "gpt-ÜBER"}, {"icontains": "T-ü"}, {"istartswith": "Gpt"}, {"iendswith": "BER"}], ids=str
    )
    def test_who_searches_without_regard_to_case_still_finds(self, lookup: dict[str, str]) -> None:
        Price.objects.create(model="GPT-über", input=1)
        Price.objects.create(model="G%", input=1)
        ((kind, text),) = lookup.items()
        assert [price.model for price in Price.objects.filter(**{f"model__{kind}": text})] == ["GPT-über"]
        assert not Price.objects.filter(**{f"model__{kind}": "%"}).filter(model="GPT-über").exists()

    def test_every_character_can_be_in_a_name(self) -> None:
        name = "🦊 \N{FULLWIDTH EQUALS SIGN}1 \N{MUSICAL SYMBOL G CLEF} \N{RIGHT-TO-LEFT MARK}"
        save(record(served_model=name, metadata={name: name}, tags=[name]))
        row = UsageRecord.objects.get()
        assert (row.served_model, row.metadata, row.tags) == (name, {name: name}, [name])
