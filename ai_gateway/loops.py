"""A gateway that is its own provider, or is so by way of others: how a call that goes round is stopped.

Whoever sends a call on to what may be a gateway itself says by a header how many gateways it has come through. A number
tells nobody anything: not which gateways, nor how many calls. Vendors at their own addresses are not told it. A call
that has come through too many is refused for good, and so is the whole chain: nobody tries it again.

It is a number and not a list of names, because gateways that share their settings may well stand behind one another.
"""

from __future__ import annotations

from collections.abc import Mapping

from ai_gateway.errors import LoopDetected

HEADER = b"x-gateway-hops"

MOST = 5
"""Gateways that a call may have come through before this one. Two or three in a row are there on purpose."""

WRITTEN = tuple((HEADER, b"%d" % number) for number in range(1, MOST + 2))
"""What is sent on with a call, by the number of gateways that it came through before."""

_KNOWN = {value: number for number, (_, value) in enumerate(WRITTEN[:MOST], 1)}


def hops_of(fields: Mapping[bytes, bytes]) -> int:
    """Tell how many gateways a request has come through. Raises LoopDetected for too many, and for what is no number:
    whoever wrote that cannot count them."""
    value = fields.get(HEADER)
    if value is None:
        return 0
    hops = _KNOWN.get(value)
    if hops is None:
        raise LoopDetected(
            f"This call has come through more than {MOST} gateways. One of them may be its own provider: the operator "
            "should look where the base URLs of the providers lead."
        )
    return hops
