"""A site whose only database is MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, transaction
from pytest_django.plugin import DjangoDbBlocker

from example_project import database
from tests import databases
from tests.mysql_server import MysqlServer


@pytest.fixture
def entry(mariadb_server: MysqlServer) -> databases.Database:
    """The database as the example project describes it."""
    address = f"mariadb://gateway@127.0.0.1:{mariadb_server.port}/gateway"
    return database.parse(address, mariadb_server.folder)


@pytest.fixture
def site(entry: databases.Database, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The site, without what other tests may have left there. What a test writes is taken back."""
    settings: Any = connections.settings
    before = settings["default"], connections["default"]
    settings["default"] = connections.configure_settings({"default": entry})["default"]
    connections["default"] = connections.create_connection("default")
    try:
        with django_db_blocker.unblock():
            with transaction.atomic():
                for model in apps.get_app_config("ai_gateway").get_models():
                    model._base_manager.all().delete()
                yield
                transaction.set_rollback(True)
            connections["default"].close()
    finally:
        settings["default"], connections["default"] = before
