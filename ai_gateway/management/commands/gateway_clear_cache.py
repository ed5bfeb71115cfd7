"""`manage.py gateway_clear_cache`: have kept answers forgotten, all of them, or those of a route, a key or a user."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings as site
from django.core.management.base import BaseCommand, CommandError

from ai_gateway import cache_store
from ai_gateway.cache_policy import CachePolicy, owner_of
from ai_gateway.calls import Caller
from ai_gateway.conf import settings
from ai_gateway.management.commands.gateway_key import find_user
from ai_gateway.management.commands.gateway_usage import find_spender

LOCAL_MEMORY = "django.core.cache.backends.locmem.LocMemCache"


class Command(BaseCommand):
    """Put new marks in place of the old ones, which the answers are kept under."""

    help = (
        "Have answers forgotten that the gateway keeps (RESPONSE_CACHE): all of them, or those of a route, a key or a "
        "user. What else the site has in its cache stays. Every process follows within seconds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what is meant, one of it."""
        meant = parser.add_mutually_exclusive_group(required=True)
        meant.add_argument("--all", action="store_true", help="all answers")
        meant.add_argument("--route", help="those of a route")
        meant.add_argument("--key", help="those of a key: its public id, or the name of one of the settings")
        meant.add_argument("--user", help="those of a user, by name")

    def handle(self, *args: Any, route: str | None, key: str | None, user: str | None, **options: Any) -> None:
        """Run the command."""
        policy = settings.RESPONSE_CACHE
        if policy is None:
            raise CommandError("AI_GATEWAY['RESPONSE_CACHE'] is not set: no answers are kept.")
        if site.CACHES.get(policy.alias, {}).get("BACKEND") == LOCAL_MEMORY:
            raise CommandError(
                f"The cache {policy.alias!r} is in the memory of each process, where no other can reach it. Use the "
                "admin if there is one process, or restart them."
            )
        if route is not None:
            mark = cache_store.mark_of("route", route)
        elif key is not None or user is not None:
            mark = cache_store.mark_of("owner", owner(policy, key, user))
        else:
            mark = cache_store.EVERYTHING
        try:
            cache_store.store().forget([mark])
        except Exception as error:
            raise CommandError(f"The cache does not answer: {type(error).__name__}: {error}") from error
        self.stdout.write(f"Forgotten. Every process follows within {cache_store.FRESH:g} seconds.")


def owner(policy: CachePolicy, key: str | None, user: str | None) -> str:
    """Name whose answers are meant. Raises CommandError if answers are not kept for each of these."""
    wanted = "key" if key is not None else "user"
    if policy.scope != wanted:
        raise CommandError(f'Answers are kept for each {policy.scope} here ("scope"), not for each {wanted}.')
    if user is not None:
        return owner_of(Caller(user_id=find_user(user).pk), "user")
    found = find_spender(key or "")
    caller = Caller(key_name=found) if isinstance(found, str) else Caller(key_id=found.pk)
    return owner_of(caller, "key")
