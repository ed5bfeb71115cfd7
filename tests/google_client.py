"""Google's SDK in front of a function that answers, without a network."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx
from google import genai
from google.genai import types

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing is encrypted here. Without it, each client reads all the authorities of the world, twice."""


def google_client(handler: Callable[[httpx.Request], httpx.Response]) -> genai.Client:
    """Make a client whose requests this function answers."""
    options = types.HttpOptions(
        base_url="http://gateway",
        httpx_client=httpx.Client(transport=httpx.MockTransport(handler)),
        client_args={"verify": NO_TLS},
        async_client_args={"ssl": NO_TLS},
    )
    return genai.Client(api_key="k", http_options=options)
