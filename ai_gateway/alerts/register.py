"""Who tells of it? All processes of a site may see the same; the database lets one of them speak.

Whoever inserts the row of what is new tells of it. What goes on is told again by the one whose update comes first after
`every` seconds, and what is over by the one that closes the row.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from ai_gateway.alerts.base import News
from ai_gateway.ledger_store import database
from ai_gateway.models import Alert
from ai_gateway.models.usage import NAME


def claim(news: News, every: float) -> bool:
    """Note what was seen, and tell whether it is for this process to tell of it. Raises DatabaseError."""
    return _close(news) if news.is_over else _insert(news) or _see_again(news, every)


def note_problem(news: News, problem: str) -> None:
    """Note that a letter did not arrive. Raises DatabaseError."""
    Alert.objects.using(database()).filter(slot=slot_of(news)).update(problem=problem)


def slot_of(news: News) -> str:
    """Name what goes on."""
    return hashlib.sha256(f"{news.kind}\0{news.subject}".encode()).hexdigest()


def _insert(news: News) -> bool:
    now, alias = timezone.now(), database()
    if Alert.objects.using(alias).filter(slot=slot_of(news)).exists():
        return False
    row = Alert(
        slot=slot_of(news),
        kind=news.kind,
        subject=news.subject[:NAME],
        text=news.text,
        first_at=now,
        last_at=now,
        sent_at=now,
    )
    try:
        with transaction.atomic(alias):
            row.save(using=alias, force_insert=True)
    except IntegrityError:
        return False  # Another process has just done so.
    return True


def _see_again(news: News, every: float) -> bool:
    now = timezone.now()
    row = Alert.objects.using(database()).filter(slot=slot_of(news))
    row.update(count=F("count") + 1, last_at=now)
    if not news.repeats:
        return False
    return row.filter(sent_at__lte=now - timedelta(seconds=every)).update(sent_at=now, text=news.text) == 1


def _close(news: News) -> bool:
    now, rows = timezone.now(), Alert.objects.using(database())
    row = rows.filter(slot=slot_of(news)).first()
    if row is None:
        return False
    return rows.filter(pk=row.pk, resolved_at=None).update(resolved_at=now, last_at=now, slot=f"over-{row.pk}") == 1
