"""Checks of the cache of answers: is there such a cache, does it keep anything, and can that be encrypted?"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings as site
from django.core.checks import CheckMessage, Error, Warning, register

from ai_gateway.cache_policy import CachePolicy
from ai_gateway.checks.settings import TAG, is_sound, suggestion
from ai_gateway.conf import settings
from ai_gateway.keyring import has_key

DUMMY = "django.core.cache.backends.dummy.DummyCache"


@register(TAG)
def check_response_cache(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check what `RESPONSE_CACHE` leads to."""
    policy = settings.RESPONSE_CACHE if is_sound("RESPONSE_CACHE") else None
    return [] if policy is None else [*_problems(policy)]


def _problems(policy: CachePolicy) -> Iterator[CheckMessage]:
    if policy.alias not in site.CACHES:
        yield Error(
            f'AI_GATEWAY["RESPONSE_CACHE"] names the cache {policy.alias!r}, which CACHES does not have.',
            hint=suggestion(policy.alias, site.CACHES) + ' Write it as its "alias".',
            id="ai_gateway.E146",
        )
    elif site.CACHES[policy.alias].get("BACKEND") == DUMMY:
        yield Warning(
            f'AI_GATEWAY["RESPONSE_CACHE"] keeps nothing: the cache {policy.alias!r} is a dummy.',
            hint="Give it another BACKEND in CACHES: Redis, if several processes are to share what is kept.",
            id="ai_gateway.W147",
        )
    if policy.encrypt and not has_key():
        make = "manage.py gateway_rotate_secrets --generate"
        yield Error(
            'AI_GATEWAY["RESPONSE_CACHE"] keeps nothing: there is no key to encrypt it with.',
            hint=f"Make one with {make}, and set AI_GATEWAY_ENCRYPTION_KEYS.",
            id="ai_gateway.E148",
        )
