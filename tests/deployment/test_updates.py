"""A site is updated while it serves: first the database, then one process after the other."""

from __future__ import annotations

from django.apps import apps
from django.db.migrations import AddField
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

WRITTEN_BY_CALLS = {"usagerecord", "usagedaily", "virtualkey"}
"""Rows of these are made while the gateway serves; those of others only when somebody configures it."""

SINCE = "0004_routing_facts"


def test_processes_that_do_not_know_a_new_column_can_still_write() -> None:
    """A column that is added later has a value of its own, in the database."""
    migrations = MigrationLoader(None).disk_migrations
    added = {
        (operation.model_name_lower, operation.name)
        for (app, name), migration in migrations.items()
        if app == "ai_gateway" and name >= SINCE
        for operation in migration.operations
        if isinstance(operation, AddField)
    }
    columns = [(model, name) for model, name in added if model in WRITTEN_BY_CALLS]
    assert columns
    for model, name in columns:
        field = apps.get_model("ai_gateway", model)._meta.get_field(name)
        assert field.null or field.db_default is not NOT_PROVIDED, f"{model}.{name}"
