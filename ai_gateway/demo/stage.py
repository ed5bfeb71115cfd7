"""Puts the demo into the database, and takes away what is the demo's and nothing else.

It is put there only if none of its names is taken, so that whatever has one of them later, with the marks of `cast`, is
its own. What was used is found by who used it: the keys and the people of the demo. Those go last: a removal that is
interrupted goes on when it is started again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.db.models.fields import EmailField
from django.utils import timezone

from ai_gateway.allowances import period
from ai_gateway.breakers import CLOSED, OPENED
from ai_gateway.conf import settings
from ai_gateway.demo import cast
from ai_gateway.demo.calls import Holder, Incident, metadata
from ai_gateway.ledger_store import database
from ai_gateway.models import (
    BreakerEvent,
    Limit,
    LimitCounter,
    Price,
    Provider,
    RecordedCall,
    Reservation,
    Route,
    RouteTarget,
    UsageDaily,
    UsageLabelDaily,
    UsageRecord,
    VirtualKey,
)
from ai_gateway.models.base import as_stored, stored_at

BATCH = 500
"""Records that one transaction deletes."""

ALIASES = [provider.alias for provider in cast.PROVIDERS]
ROUTES = [route.name for route in cast.ROUTES]


# What is there.


def keys() -> QuerySet[VirtualKey]:
    """Give the keys of the demo."""
    return VirtualKey.objects.filter(**{f"metadata__{cast.MARK}": True})


def people() -> Any:
    """Give the people of the demo: by their names, and by their address or, where users have none, their keys."""
    model: Any = get_user_model()
    named = model._default_manager.filter(**{f"{model.USERNAME_FIELD}__in": [login(each.name) for each in cast.PEOPLE]})
    mail = getattr(model, "EMAIL_FIELD", None)
    if mail and has_field(model, mail):
        return named.filter(**{f"{mail}__endswith": f"@{cast.DOMAIN}"})
    return named.filter(pk__in=keys().values("user"))


def teams() -> QuerySet[Group]:
    """Give the groups of the demo: those of its names that nobody else is a member of."""
    found = Group.objects.filter(name__in=cast.TEAMS)
    others = get_user_model()._default_manager.exclude(pk__in=people().values("pk"))
    if has_field(get_user_model(), "groups"):
        found = found.exclude(pk__in=others.filter(groups__in=found).values("groups"))
    return found


def limits() -> QuerySet[Limit]:
    """Give the limits of the demo: of its keys, people, teams and providers."""
    of_whom = Q(key__in=keys()) | Q(user__in=people()) | Q(group__in=teams()) | Q(scope="provider", subject__in=ALIASES)
    return Limit.objects.filter(of_whom, name__in=[budget.name for budget in cast.BUDGETS])


def used_by_demo() -> Q:
    """Tell the rows of usage that are the demo's, in either table."""
    ids = list(keys().values_list("pk", flat=True)), list(people().values_list("pk", flat=True))
    return Q(key_id__in=ids[0]) | Q(user_id__in=ids[1])


def is_set() -> bool:
    """Whether there is anything of the demo."""
    return bool(keys().exists() or people().exists() or teams().exists() or providers().exists())


def has_usage() -> bool:
    """Whether anything was used by anybody, but for calls that reached nobody or the built-in `echo`: those come from
    trying the gateway out, and cost nothing."""
    tables = (UsageDaily, UsageRecord)
    return any(model.objects.using(database()).exclude(provider__in=("", "echo")).exists() for model in tables)


def providers() -> QuerySet[Provider]:
    """Give the providers of the demo."""
    return Provider.objects.filter(alias__in=ALIASES, backend="echo")


def routes() -> list[Route]:
    """Give the routes of the demo."""
    return [route for route in Route.objects.filter(name__in=ROUTES) if cast.MARK in route.tags]


def taken() -> list[str]:
    """Give the names of the demo that somebody has."""
    model: Any = get_user_model()
    logins = [login(each.name) for each in cast.PEOPLE]
    found: list[Iterable[str]] = [
        model._default_manager.filter(**{f"{model.USERNAME_FIELD}__in": logins}).values_list(
            model.USERNAME_FIELD, flat=True
        ),
        Group.objects.filter(name__in=cast.TEAMS).values_list("name", flat=True),
        Provider.objects.filter(alias__in=ALIASES).values_list("alias", flat=True),
        [alias for alias in ALIASES if alias in map(str.lower, settings.PROVIDERS)],
        Route.objects.filter(name__in=ROUTES).values_list("name", flat=True),
        Limit.objects.filter(name__in=[budget.name for budget in cast.BUDGETS]).values_list("name", flat=True),
    ]
    return [name for names in found for name in names]


# Setting it.


def set_up(begins_at: datetime) -> list[Holder]:
    """Make people, teams, keys, providers, routes and prices, as if they had been there from the beginning. Raises
    CryptoError if there is no encryption key."""
    with transaction.atomic(router.db_for_write(Provider)):
        groups = {name: Group.objects.create(name=name) for name in cast.TEAMS}
        users = {person.name: _make_user(person, groups) for person in cast.PEOPLE}
        for provider in cast.PROVIDERS:
            names = [model.name for model in cast.MODELS.values() if model.provider == provider.alias]
            Provider.objects.create(
                alias=provider.alias,
                label=provider.label,
                backend="echo",
                options={"models": names, "delay": provider.delay},
            )
        for route in cast.ROUTES:
            _make_route(route)
        _make_prices(begins_at)
        return [_make_key(key, users[key.owner], groups[key.team], begins_at) for key in cast.KEYS]


def login(name: str) -> str:
    """Write a person's name as the site's users log in."""
    model: Any = get_user_model()
    return f"{name}@{cast.DOMAIN}" if isinstance(model._meta.get_field(model.USERNAME_FIELD), EmailField) else name


def has_field(model: Any, name: str) -> bool:
    """Whether a model has a field: users may be of the site's own making."""
    return name in {field.name for field in model._meta.get_fields()}


def _make_user(person: cast.Person, groups: dict[str, Group]) -> Any:
    """Make somebody who cannot log in until an administrator sets a password."""
    model: Any = get_user_model()
    user = model(**{model.USERNAME_FIELD: login(person.name)})
    mail = getattr(model, "EMAIL_FIELD", None)
    if mail and has_field(model, mail):
        setattr(user, mail, f"{person.name}@{cast.DOMAIN}")
    user.set_unusable_password()
    user.save()
    if has_field(model, "groups"):
        user.groups.add(groups[person.team])
    return user


def _make_route(route: cast.Route) -> None:
    made = Route.objects.create(name=route.name, description=route.description, tags=[cast.MARK])
    for position, target in enumerate(route.targets):
        provider, _, model = target.partition("/")
        RouteTarget.objects.create(route=made, position=position, provider=provider, model=model)


def _make_prices(begins_at: datetime) -> None:
    for model in cast.MODELS.values():
        if model.price is not None:
            Price.objects.create(
                provider=model.provider,
                model=model.name,
                valid_from=as_stored(begins_at),
                note=cast.MARK,
                **model.price,
            )


def _make_key(key: cast.Key, user: Any, group: Group, begins_at: datetime) -> Holder:
    expires_in = key.expires_in_days
    made = VirtualKey(
        name=key.name,
        user=user,
        group=group,
        tags=list(key.tags),
        metadata=metadata(key),
        is_active=not key.is_revoked,
        expires_at=None if expires_in is None else timezone.now() + timedelta(days=expires_in),
    )
    made.issue()
    made.save()
    VirtualKey.objects.filter(pk=made.pk).update(created_at=as_stored(begins_at))
    return Holder(key, made.pk, user.pk, group.pk)


def set_limits(now: datetime) -> None:
    """Make limits of which as much is used as the cast says, and note when each key was last used."""
    for budget in cast.BUDGETS:
        limit = Limit(
            name=budget.name,
            scope=budget.scope,
            measure=budget.measure,
            window=budget.window,
            soft_percent=budget.soft_percent,
            **_subject(budget),
        )
        limit.amount = _amount(budget, limit, now)
        limit.full_clean()
        limit.save()
    records = UsageRecord.objects.using(database()).order_by("-started_at")
    for key in keys():
        last = records.filter(key_id=key.pk).values_list("started_at", flat=True).first()
        VirtualKey.objects.filter(pk=key.pk).update(last_used_at=last)


def _subject(budget: cast.Budget) -> dict[str, Any]:
    if budget.scope == "key":
        return {"key": keys().get(name=budget.subject)}
    if budget.scope == "user":
        name = get_user_model().USERNAME_FIELD
        return {"user": people().get(**{name: login(budget.subject)})}
    if budget.scope == "group":
        return {"group": teams().get(name=budget.subject)}
    return {"subject": budget.subject}


WITHOUT_USE = {"cost": 50, "tokens": 1_000_000, "requests": 600, "concurrency": 20}
"""What is allowed where nothing is used so far."""


def _amount(budget: cast.Budget, limit: Limit, now: datetime) -> Decimal:
    """Find the amount of which as much is used as is wanted, with two digits that count."""
    spent = _spent(limit, now) if budget.used else Decimal(0)
    if not spent:
        return Decimal(WITHOUT_USE[budget.measure])
    amount = spent / Decimal(str(budget.used))
    digit = Decimal(10) ** (amount.adjusted() - 1)
    if budget.measure == "tokens":
        digit = max(digit, Decimal(1))
    return (amount // digit) * digit or digit


def _spent(limit: Limit, now: datetime) -> Decimal:
    """Tell what was used of a limit in its period."""
    begins_at = period(limit.window, settings.TIME_ZONE, now.timestamp()).begins_at
    days = UsageDaily.objects.using(database()).between(datetime.fromtimestamp(begins_at, now.tzinfo))
    subject = limit.key or limit.user or limit.group or limit.subject
    found = getattr(days, f"by_{limit.scope}")(subject)
    return Decimal(found.cost() if limit.measure == "cost" else found.tokens())


def write_down(found: Iterable[Incident], until: float) -> None:
    """Write down when breakers opened and closed, up to a moment."""
    events = []
    for each in found:
        names = {"provider": each.provider, "model": each.model}
        why = {"reason": "5 failures in a row", "seconds": each.seconds}
        events.append(BreakerEvent(at=stored_at(each.at), event=OPENED, **why, **names))
        events.append(
            BreakerEvent(at=stored_at(each.at + each.seconds), event=CLOSED, reason="a call did well", **names)
        )
    BreakerEvent.objects.bulk_create(event for event in events if event.at <= stored_at(until))


# Taking it away.


def count_records() -> int:
    """Count the records of what the demo used."""
    count: int = UsageRecord.objects.using(database()).filter(used_by_demo()).count()
    return count


def remove_usage() -> Iterator[int]:
    """Delete what the demo used, records, sums and bodies; give how many records each transaction deletes."""
    own = used_by_demo()
    records = UsageRecord.objects.using(database()).filter(own)
    while ids := list(records.order_by().values_list("pk", flat=True)[:BATCH]):
        records.model.objects.using(database()).filter(pk__in=ids).delete()
        yield len(ids)
    for sums in (UsageDaily, UsageLabelDaily):
        sums.objects.using(database()).filter(own).delete()
    RecordedCall.objects.filter(own).delete()


def remove_the_rest() -> None:
    """Delete everything else of the demo."""
    with transaction.atomic(router.db_for_write(Provider)):
        counters = [f"{pk}:" for pk in limits().values_list("pk", flat=True)]
        for name in counters:
            LimitCounter.objects.filter(name__startswith=name).delete()
            Reservation.objects.filter(counter__startswith=name).delete()
        limits().delete()
        for route in routes():
            route.delete()
        BreakerEvent.objects.filter(provider__in=ALIASES).delete()
        Price.objects.filter(provider__in=ALIASES, note=cast.MARK).delete()
        providers().delete()
        users, groups = list(people()), list(teams())
        keys().delete()
        for each in (*users, *groups):
            each.delete()
