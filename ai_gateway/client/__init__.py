"""The gateway for the site's own code, in this process: an HTTP client whose transport is the gateway itself.

    from ai_gateway.client import async_client

    openai = AsyncOpenAI(http_client=async_client(user=request.user), api_key="unused")

A call goes the way of all calls, with routing, limits, fallbacks and accounting as that user or key; only the network
in between is left out. `identity` says as whom, `transports` brings requests and answers to and fro, and `background`
is the event loop on which calls of synchronous code run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import httpx

from ai_gateway.client.identity import Key, Metadata, identify
from ai_gateway.client.transports import AsyncTransport, SyncTransport

BASE_URL = "http://gateway"
"""Where requests without an address go. The host of those that have one does not matter: there is only one here."""


def async_client(
    *,
    user: Any = None,
    key: Key | None = None,
    tags: Sequence[str] = (),
    metadata: Metadata | None = None,
    library: ModuleType = httpx,
    **options: Any,
) -> Any:
    """Make an asynchronous HTTP client that calls the gateway as a user of the site, or as the holder of a key.

    `key` is a `VirtualKey`, or a gateway key as its holder has it. `tags` and `metadata` are added to the key's own,
    which win. `library` is the module that the client is to come from: `httpx`, or `httpx2` for SDKs that want that.
    `options` are those of its `AsyncClient`. It is typed as anything, because SDKs say one library and take both.
    """
    transport = AsyncTransport(library, identify(user, key, tags, metadata))
    return library.AsyncClient(transport=transport, **_completed(options))


def sync_client(
    *,
    user: Any = None,
    key: Key | None = None,
    tags: Sequence[str] = (),
    metadata: Metadata | None = None,
    library: ModuleType = httpx,
    **options: Any,
) -> Any:
    """Make a synchronous one; see `async_client`. It can be used in any thread, but not on an event loop."""
    transport = SyncTransport(library, identify(user, key, tags, metadata))
    return library.Client(transport=transport, **_completed(options))


def _completed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Add what such clients need. The gateway has time limits of its own, and httpx's five seconds are none for a
    model; nothing in the environment (proxies, `.netrc`) is meant for calls that leave no process."""
    return {"base_url": BASE_URL, "timeout": None, **options, "trust_env": False}


__all__ = ["AsyncTransport", "SyncTransport", "async_client", "sync_client"]
