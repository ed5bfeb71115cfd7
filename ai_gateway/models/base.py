"""What the models have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.conf import settings as site
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.timezone import get_default_timezone, is_naive, localtime, make_aware, make_naive
from django.utils.translation import gettext_lazy as _

from ai_gateway import validators

LIMIT_OF_A_NAME = 200

HINT_LENGTH = 4
"""Letters of a stored secret that are shown, for people to tell one from the other."""

SHORTEST_HINTED = 20
"""Of a shorter secret nothing is shown: four letters would be too much of it."""

NamesField = partial(models.JSONField, default=list, blank=True, validators=[validators.validate_names])


class Caching(models.TextChoices):
    """The switch of a key or a route for answers from the cache."""

    AS_SET = "", _("as the settings say")
    ON = "on", _("on")
    OFF = "off", _("off")


def records_bodies() -> models.BooleanField[bool, bool]:
    """Make the switch of a key or a route for recordings."""
    return models.BooleanField(
        _("record bodies"),
        default=False,
        db_default=False,  # For processes that do not know the column yet, while a site is updated.
        help_text=_("Whether requests and answers are kept for reading, encrypted, if the site's settings allow it."),
    )


def guardrails() -> models.JSONField[Any, Any]:
    """Make the list of guardrails that a key or a route adds."""
    return NamesField(
        db_default=[],
        verbose_name=_("guardrails"),
        help_text=_("Names of guardrails of the settings that its calls have to pass, besides those for all calls."),
    )


def caching() -> models.CharField[str, str]:
    """Make the switch of a key or a route for answers from the cache."""
    return models.CharField(
        _("answers from the cache"),
        max_length=3,
        choices=Caching.choices,
        blank=True,
        default=Caching.AS_SET,
        db_default="",
        help_text=_("Whether calls get an answer again that was given before, if the site's settings have a cache."),
    )


class TimeStamped(models.Model):
    """When a row was made, and last changed by a person."""

    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        abstract = True

    def clean(self) -> None:
        """See fill_empty()."""
        fill_empty(self)


def is_right(row: models.Model) -> bool:
    """Whether each field of a row is in order by itself, so that it can be asked how they fit together."""
    try:
        row.clean_fields()
    except ValidationError:
        return False
    return True


def fill_empty(row: models.Model) -> None:
    """Take an empty list or object for what was left empty: a form gives None for it."""
    for field in row._meta.concrete_fields:
        if isinstance(field, models.JSONField) and not getattr(row, field.attname):
            setattr(row, field.attname, field.get_default())


def as_stored(moment: datetime) -> datetime:
    """Give a moment as the database is told of it: without USE_TZ, moments are stored as the clock of the site's own
    time zone shows them. A naive moment is one of such a site already."""
    return moment if site.USE_TZ or is_naive(moment) else make_naive(moment, get_default_timezone())


def stored_at(seconds: float) -> datetime:
    """Give a moment in seconds since 1970 as the database is told of it."""
    return as_stored(datetime.fromtimestamp(seconds, UTC))


def as_told(moment: datetime) -> datetime:
    """Give a moment of the database with its time zone, for arithmetic, and for whoever is elsewhere."""
    return make_aware(moment, get_default_timezone()) if is_naive(moment) else moment


def as_shown(moment: datetime) -> datetime:
    """Give a moment as the clocks of people show it. Without USE_TZ the database has it like that."""
    stored = as_stored(moment)
    # By way of UTC: an hour that was left out where it is meant has to become one that was not.
    return stored if is_naive(stored) else localtime(stored.astimezone(UTC))
