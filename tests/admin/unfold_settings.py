"""The settings of the tests, with django-unfold."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as STOCK

INSTALLED_APPS = ["unfold", *STOCK]
