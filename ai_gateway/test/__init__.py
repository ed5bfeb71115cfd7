"""A kit for the tests of sites and packages that use the gateway: providers that answer by a script, without a network.

    from ai_gateway.test import FakeProviders, fails, says

    with FakeProviders() as providers:
        providers.answer(fails(429), says("Good morning"))
        ...  # whatever calls the gateway: the site's code, Django's test client, an SDK
        assert providers.sent[0].model == "gpt-5-mini"

Everything else is the gateway itself: routes, retries, limits, translation and accounting do what they do elsewhere.
`answers` says what providers answer, `sent` what they were sent, and `script` puts the two together. `transport` is in
the network's place, `providers` puts it there, and `isolation` lets nothing be remembered from one test to the next.
`server` has the same script on a socket, for a gateway that runs by itself. `fixtures` is a plugin for pytest, which is
not needed for the rest.
"""

from __future__ import annotations

from ai_gateway.test.answers import Answer, calls, fails, is_silent, is_unreachable, says, sends, thinks
from ai_gateway.test.providers import FakeProviders
from ai_gateway.test.sent import Sent
from ai_gateway.test.server import FakeServer

__all__ = [
    "Answer",
    "FakeProviders",
    "FakeServer",
    "Sent",
    "calls",
    "fails",
    "is_silent",
    "is_unreachable",
    "says",
    "sends",
    "thinks",
]
