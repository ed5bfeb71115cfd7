"""Checks of guardrails: can each be had as it is set up, and does everybody name one that there is?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.core.checks import CheckMessage, Error, register

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings
from ai_gateway.guardrails.register import read_guard


@register(TAG)
def check_guardrails(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check what `GUARDRAILS` leads to."""
    return [*_broken(), *_unknown()] if is_sound("GUARDRAILS") else []


def _broken() -> Iterator[CheckMessage]:
    for name, entry in settings.GUARDRAILS.items():
        try:
            read_guard(name, entry)
        except ValueError as error:
            yield Error(
                f'The guardrail AI_GATEWAY["GUARDRAILS"]["{name}"] cannot be used: {error}.',
                hint="See docs/guardrails.md for what there is. Until then it fails, and blocks if it is not to pass.",
                id="ai_gateway.E151",
            )


def _unknown() -> Iterator[CheckMessage]:
    for route, entry in settings.ROUTES.items() if is_sound("ROUTES") else ():
        for name in entry.get("guardrails", ()) if isinstance(entry, Mapping) else ():
            if name not in settings.GUARDRAILS:
                yield Error(
                    f'The route AI_GATEWAY["ROUTES"]["{route}"] names the guardrail {name!r}, and there is none.',
                    hint='Define it in AI_GATEWAY["GUARDRAILS"]. Until then no call of the route passes.',
                    id="ai_gateway.E152",
                )
