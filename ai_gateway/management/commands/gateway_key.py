"""`manage.py gateway_key`: make, list, revoke and exchange virtual keys."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import router, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from ai_gateway.crypto import CryptoError, public_id_of
from ai_gateway.models import Limit, VirtualKey
from ai_gateway.models.base import as_stored, as_told

DURATION = re.compile(r"([0-9]+)([dhm])")
BUDGET = re.compile(r"\$?([0-9]+(?:\.[0-9]{1,9})?)/(hour|day|week|month|total)")
UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class Command(BaseCommand):
    """Make, list, revoke and exchange virtual keys."""

    help = "Make, list, revoke and exchange virtual keys. A new key is printed once, alone on the standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add an action each for create, list, revoke and rotate."""
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key")
        create.add_argument("--user", required=True, help="the owner, by user name")
        create.add_argument("--name", required=True, help="what it is for")
        create.add_argument("--group", help="the team that it is used for")
        for option, what in (
            ("model", "a route or model"),
            ("provider", "a provider"),
            ("endpoint", "a path below /v1/"),
        ):
            create.add_argument(
                f"--{option}", action="append", default=[], help=f"allow {what}, * for anything; again for more"
            )
        create.add_argument("--network", action="append", default=[], help="allow use from there; again for more")
        create.add_argument(
            "--no-fallbacks", action="store_true", help="refuse calls that name fallbacks (x-gateway-fallbacks, models)"
        )
        create.add_argument("--tag", action="append", default=[], help="again for more")
        create.add_argument("--metadata", type=json.loads, default={}, help="a JSON object")
        create.add_argument("--rpm", type=int, help="requests in a minute")
        create.add_argument("--tpm", type=int, help="tokens in a minute")
        create.add_argument("--concurrency", type=int, help="calls at once")
        create.add_argument(
            "--budget",
            type=read_budget,
            action="append",
            default=[],
            help="dollars, for example 20/month; again for more",
        )
        create.add_argument("--expires", type=read_moment, help="30d, 12h, or a date")
        shown = actions.add_parser("list", help="list keys")
        shown.add_argument("--user", help="of this owner only")
        shown.add_argument("--all", action="store_true", help="those that are revoked or expired, too")
        shown.add_argument("--json", action="store_true", help="as JSON")
        for action, what in (("revoke", "revoke a key"), ("rotate", "exchange a key for another with the same rights")):
            named = actions.add_parser(action, help=what)
            named.add_argument("key", help="its public id, or the key itself")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Run the action."""
        run: Any = {"create": self.create, "list": self.list, "revoke": self.revoke, "rotate": self.rotate}[action]
        run(**options)

    def create(self, *, user: str, name: str, group: str | None, **options: Any) -> None:
        """Make a key and print it."""
        key = VirtualKey(
            user=find_user(user),
            group=find_group(group) if group else None,
            name=name,
            allowed_models=options["model"],
            allowed_providers=options["provider"],
            allowed_endpoints=options["endpoint"],
            allowed_networks=options["network"],
            may_choose_fallbacks=not options["no_fallbacks"],
            tags=options["tag"],
            metadata=options["metadata"],
            expires_at=options["expires"],
        )
        with transaction.atomic(router.db_for_write(VirtualKey)):
            token = self.renew(key)
            for limit in limits_of(key, options):
                add(limit)
        self.show(token, f"Made the key {name!r} of {user}.")

    def rotate(self, *, key: str, **options: Any) -> None:
        """Exchange a key and print the new one."""
        found = find_key(key)
        token = self.renew(found)
        self.show(token, f"Exchanged the key {found.name!r} of {found.user.get_username()}. The old one has ended.")

    def renew(self, key: VirtualKey) -> str:
        """Give a row a new key, and save it."""
        try:
            token = key.issue()
            key.full_clean()
        except CryptoError as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        key.save()
        return token

    def show(self, token: str, message: str) -> None:
        """Print a key."""
        self.stderr.write(f"{message} It is shown this once:")
        self.stdout.write(token)

    def revoke(self, *, key: str, **options: Any) -> None:
        """Switch a key off."""
        found = find_key(key)
        found.is_active = False
        found.save(update_fields=["is_active", "updated_at"])
        self.stderr.write(f"Revoked the key {found.name!r} of {found.user.get_username()}.")

    def list(self, *, user: str | None, all: bool, json: bool, **options: Any) -> None:
        """Print keys, the newest first."""
        keys = VirtualKey.objects.select_related("user", "group")
        if user:
            keys = keys.filter(user=find_user(user))
        if not all:
            keys = keys.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), is_active=True)
        for key in keys.iterator(chunk_size=1000):
            self.stdout.write(as_json(key) if json else as_line(key))


def add(limit: Limit) -> None:
    """Save a new limit. Raises CommandError."""
    try:
        limit.full_clean()
    except ValidationError as error:
        raise CommandError(f"A limit of {limit.measure}: {' '.join(error.messages)}") from error
    limit.save()


def limits_of(key: VirtualKey, options: dict[str, Any]) -> list[Limit]:
    """Make the limits of a new key."""
    wanted: list[tuple[str, str, Any]] = [
        ("requests", "minute", options["rpm"]),
        ("tokens", "minute", options["tpm"]),
        ("concurrency", "", options["concurrency"]),
        *(("cost", window, amount) for amount, window in options["budget"]),
    ]
    return [
        Limit(
            name=f"{key.name} ({key.public_id}): {measure}{' a ' + window if window else ''}",
            scope=Limit.Scope.KEY,
            key=key,
            measure=measure,
            window=window,
            amount=amount,
        )
        for measure, window, amount in wanted
        if amount is not None
    ]


def read_budget(text: str) -> tuple[Decimal, str]:
    """Read dollars and the window that they are for."""
    found = BUDGET.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not written as 20/month: dollars, and hour, day, week, month or total")
    return Decimal(found[1]), found[2]


def as_line(key: VirtualKey) -> str:
    """Write a key as a line of a table."""
    used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
    owner = key.user.get_username() + (f" ({key.group})" if key.group else "")
    state = "" if key.is_active and not key.is_expired else " revoked" if not key.is_active else " expired"
    return f"{key.public_id}  {owner:24} {used:16} {key.name}{state}"


def as_json(key: VirtualKey) -> str:
    """Write a key as a line of JSON."""
    return json.dumps(
        {
            "public_id": key.public_id,
            "name": key.name,
            "user": key.user.get_username(),
            "group": key.group.name if key.group else None,
            "is_active": key.is_active,
            "expires_at": as_told(key.expires_at).isoformat() if key.expires_at else None,
            "last_used_at": as_told(key.last_used_at).isoformat() if key.last_used_at else None,
            "allowed_models": key.allowed_models,
            "allowed_providers": key.allowed_providers,
            "allowed_endpoints": key.allowed_endpoints,
            "allowed_networks": key.allowed_networks,
            "may_choose_fallbacks": key.may_choose_fallbacks,
            "tags": key.tags,
            "metadata": key.metadata,
        }
    )


def find_key(text: str) -> VirtualKey:
    """Find a key by its public id, or by itself. Raises CommandError."""
    public_id = public_id_of(text.encode()) or text
    found = VirtualKey.objects.select_related("user", "group").filter(public_id=public_id).first()
    if found is None:
        raise CommandError("There is no such key. `gateway_key list --all` lists the public ids.")
    return found


def find_user(name: str) -> Any:
    """Find a user by name. Raises CommandError."""
    model: Any = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise CommandError(f"There is no user {name!r}.") from None


def find_group(name: str) -> Group:
    """Find a group by name. Raises CommandError."""
    found = Group.objects.filter(name=name).first()
    if found is None:
        raise CommandError(f"There is no group {name!r}.")
    return found


def read_moment(text: str) -> datetime:
    """Read a point in time: how far away it is, or a date with or without a time of day. Raises CommandError."""
    try:
        return _read_moment(text)
    except (OverflowError, ValueError) as error:
        raise CommandError(f"{text[:40]!r} is too far away, or is no date.") from error


def _read_moment(text: str) -> datetime:
    span = DURATION.fullmatch(text)
    if span:
        return timezone.now() + timedelta(**{UNITS[span[2]]: int(span[1])})
    moment = parse_datetime(text)
    day = None if moment else parse_date(text)
    if day:
        moment = datetime(day.year, day.month, day.day)
    if moment is None:
        raise CommandError(f"{text!r} is neither a duration (30d, 12h, 45m) nor a date (2030-01-31).")
    # By way of UTC: a database does not take what is no date there.
    return as_stored(as_told(moment).astimezone(UTC))
