"""Messages over Redis: publish and subscribe, and a lease that one process has at a time.

What Redis publishes it does not keep: who is not connected at the moment has missed it. A channel is the same in all of
Redis's databases, so the number of the database is part of its name, as it is of what the counters of limits are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import parse_url

from ai_gateway.limits.base import StoreUnavailable
from ai_gateway.limits.redis.client import FAILURES, Client

TIMEOUT = 1.0
"""Seconds that Redis may take to answer. Nobody's call waits for it."""


class RedisWire:
    """The connections of one process, in one event loop. The options are those of `limits.redis.RedisStore`."""

    def __init__(
        self,
        url: str,
        me: str,
        *,
        prefix: str = "ai_gateway",
        timeout: float = TIMEOUT,
        cluster: bool = False,
        sentinels: Sequence[tuple[str, int]] = (),
        service: str = "mymaster",
        **options: Any,
    ) -> None:
        database = options.get("db", parse_url(url).get("db", 0))
        self._me = me
        self._tag = f"{{{prefix}}}:{database}:peers"
        self._client = Client(
            url, max(timeout, TIMEOUT), cluster=cluster, sentinels=sentinels, service=service, options=options
        )
        self._subscription: Any = None

    async def open(self) -> None:
        """Connect: from now on messages come in. Raises StoreUnavailable."""
        self._subscription = await self._client.subscribe(self._tag, f"{self._tag}:{self._me}")

    async def publish(self, data: bytes, to: str = "") -> None:
        """Send a message to all, or to one. Raises StoreUnavailable."""
        await self._client.do("PUBLISH", f"{self._tag}:{to}" if to else self._tag, data)

    async def receive(self, within: float) -> object:
        """Wait for a message. Raises StoreUnavailable, also when none came in time."""
        assert self._subscription is not None
        try:
            async with asyncio.timeout(within):
                message = None
                while message is None:
                    message = await self._subscription.get_message(timeout=None)
        except TimeoutError as error:
            raise StoreUnavailable(f"Redis: nothing was heard for {within:g} s") from error
        except FAILURES as error:
            raise StoreUnavailable(f"Redis: {type(error).__name__}: {error}") from error
        return message["data"]

    async def lease(self, what: str, seconds: float) -> bool:
        """Take something for a while, if nobody else has it, or keep it if it is ours. Raises StoreUnavailable."""
        key = f"{self._tag}:lease:{what}"
        milliseconds = round(seconds * 1000)
        if await self._client.do("SET", key, self._me, "NX", "PX", milliseconds) is not None:
            return True
        if await self._client.do("GET", key) != self._me.encode():
            return False
        is_kept: int = await self._client.do("PEXPIRE", key, milliseconds)
        return is_kept == 1

    async def aclose(self) -> None:
        """Close the connections."""
        if self._subscription is not None:
            with contextlib.suppress(*FAILURES):
                await self._subscription.aclose()
            self._subscription = None
        await self._client.aclose()
