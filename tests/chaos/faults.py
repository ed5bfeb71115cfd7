"""What a provider of these tests does to a call, drawn from the seed: whatever can go wrong, or nothing.

What befalls a call depends on the seed, the call, the provider and how often the provider was asked for it, and on
nothing else: not on the order in which calls arrive. So a seed brings the same faults again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from time import time

STORM = 12
"""How many calls in a row one storm of refusals covers."""


class Fault(Enum):
    """What becomes of one exchange."""

    NONE = "a good answer"
    RESET_UNREAD = "reset while the request is being sent"
    CLOSE_UNANSWERED = "closed without an answer"
    RESET_UNANSWERED = "reset without an answer"
    STALL_UNANSWERED = "no answer"
    HALF_HEAD = "half a head, then closed"
    STALL_IN_HEAD = "half a head, then silence"
    JUNK = "no HTTP at all"
    REDIRECT = "a redirect"
    REFUSAL = "an error status"
    # Of the body.
    RESET = "reset in the body"
    CLOSE = "closed in the body"
    STALL = "silence in the body"
    BAD_FRAMING = "a broken chunk, or a wrong length"
    # Of streams alone.
    ERROR_FIRST = "an error as the first event"
    ERROR_LATER = "an error as a later event"
    UNPROVEN = "an end without proof"
    # After the end of a stream.
    RESET_AFTER = "reset after the last event"
    STALL_AFTER = "silence after the last event"
    CLOSE_AFTER = "closed after the last event, without the last chunk"


BEFORE_THE_BODY = (
    Fault.RESET_UNREAD,
    Fault.CLOSE_UNANSWERED,
    Fault.RESET_UNANSWERED,
    Fault.STALL_UNANSWERED,
    Fault.HALF_HEAD,
    Fault.STALL_IN_HEAD,
    Fault.JUNK,
    Fault.REDIRECT,
    Fault.REFUSAL,
    Fault.REFUSAL,
    Fault.REFUSAL,
)
IN_A_BODY = (Fault.RESET, Fault.CLOSE, Fault.STALL, Fault.BAD_FRAMING)
IN_A_STREAM = (
    *IN_A_BODY,
    Fault.ERROR_FIRST,
    Fault.ERROR_LATER,
    Fault.UNPROVEN,
    Fault.RESET_AFTER,
    Fault.STALL_AFTER,
    Fault.CLOSE_AFTER,
)
AFTER_A_STREAM = (Fault.NONE, Fault.RESET_AFTER, Fault.STALL_AFTER, Fault.CLOSE_AFTER)

GOOD = 0.45
"""The share of exchanges that go well, outside of storms."""


@dataclass
class Draw:
    """What befalls one exchange."""

    fault: Fault
    dice: random.Random = field(repr=False)


def draw(seed: int, call: int, provider: str, turn: int, *, is_stream: bool) -> Draw:
    """Draw what befalls the exchange of a call with a provider that is asked for it for the `turn`th time."""
    dice = random.Random(f"{seed}/{call}/{provider}/{turn}")
    if random.Random(f"{seed}/storm/{provider}/{call // STORM}").random() < 0.15:
        return Draw(Fault.REFUSAL, dice)
    if dice.random() < GOOD:
        return Draw(Fault.NONE, dice)
    faults = IN_A_STREAM if is_stream else IN_A_BODY
    return Draw(dice.choice(BEFORE_THE_BODY if dice.random() < 0.5 else faults), dice)


def draw_refusal(dice: random.Random) -> tuple[int, str, list[tuple[str, str]]]:
    """Draw a status, the error's code, and headers: `retry-after` in all its forms."""
    status, code = dice.choice(
        [
            (429, "rate_limit_exceeded"),
            (429, "rate_limit_exceeded"),
            (500, "server_error"),
            (502, "bad_gateway"),
            (503, "overloaded"),
            (529, "overloaded_error"),
            (408, "timeout"),
            (400, "context_length_exceeded"),
            (400, "invalid_request"),
            (401, "invalid_api_key"),
            (404, "model_not_found"),
            (418, "teapot"),
        ]
    )
    after = dice.choice(
        [
            [],
            [("retry-after", "0")],
            [("retry-after", "1")],
            [("retry-after", "0.05")],
            [("retry-after-ms", "30")],
            [("retry-after", formatdate(time() + dice.choice((-60, 0, 1)), usegmt=True))],
            [("retry-after", "soon")],
            [("retry-after", "-5")],
            [("retry-after", "3600")],
            [("retry-after", "9" * 40)],
        ]
    )
    return status, code, after
