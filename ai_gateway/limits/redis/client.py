"""The way to Redis, which is the library redis: addresses, TLS, passwords, Sentinel and Cluster are its business.

Here is what a gateway needs besides. There is one time limit for a whole exchange, and nothing is repeated behind its
back. And after any failure the connection is given up: an answer that nobody read would be taken for the answer to the
next question.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from ai_gateway.limits.base import StoreUnavailable
from ai_gateway.limits.patience import Patience
from ai_gateway.limits.redis.script import DIGEST, SCRIPT

PASSING = ("READONLY", "OOM ", "MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "BUSY", "max number of clients")
"""What is in errors that pass, as far as redis-py has no class of its own for them. Redis before 7 has most of them in
`Error running script`. All others come again whenever the same is sent."""

FAILURES = (RedisError, RedisClusterException, OSError, RuntimeError)
"""What is raised if there is no exchange with Redis. That no node of a cluster can be reached is no `RedisError`, and
for a connection that was closed meanwhile uvloop raises `RuntimeError`."""


class ScriptFailed(StoreUnavailable):
    """The script cannot do what it was sent, now or later."""


class Unwritable(ScriptFailed):
    """What there is to send cannot even be written."""


class Unanswered(StoreUnavailable):
    """There was no answer in time."""


class Client:
    """A connection of one event loop, opened when it is needed."""

    def __init__(
        self,
        url: str,
        timeout: float,
        *,
        cluster: bool = False,
        sentinels: Sequence[tuple[str, int]] = (),
        service: str = "mymaster",
        options: Mapping[str, Any],
    ) -> None:
        self.is_open = False
        """Whether there is a connection, as far as anybody knows."""
        self._url = url
        self._timeout = timeout
        self._is_cluster = cluster
        self._sentinels = sentinels
        self._service = service
        self._options = options
        self._redis: Any = None
        self._connection: Any = None
        self._patience: Patience | None = None
        self._closers: list[Callable[[], Awaitable[Any]]] = []

    async def run(self, keys: Sequence[bytes], argument: bytes) -> bytes:
        """Have Redis run the script. Raises StoreUnavailable, after which it may have run all the same."""
        answer = await self._in_time(self._run(keys, argument))
        assert isinstance(answer, bytes)
        return answer

    async def do(self, *words: str | bytes | int) -> Any:
        """Have Redis do a command. Raises StoreUnavailable, after which it may be done all the same."""
        return await self._in_time(self._do(*words))

    async def subscribe(self, *channels: str) -> Any:
        """Open a connection of its own on which messages come in, and give redis-py's `PubSub`. Whoever gets it closes
        it. Raises StoreUnavailable.

        Any node of a cluster has the messages of all."""
        address = self._connect(in_cluster=False)
        subscription = address.pubsub(ignore_subscribe_messages=True)
        try:
            await self._in_time(subscription.subscribe(*channels))
        except BaseException:
            with contextlib.suppress(*FAILURES):
                await subscription.aclose()
            raise
        return subscription

    async def _in_time(self, exchange: Awaitable[Any]) -> Any:
        if self._patience is None:
            self._patience = Patience(self._timeout, asyncio.get_running_loop())
        try:
            answer = await self._patience.wait(exchange)
        except TimeoutError as error:
            await self.aclose()
            raise Unanswered(f"Redis did not answer within {self._timeout:g} s") from error
        except FAILURES as error:
            await self.aclose()
            raise _failure(error) from error
        except BaseException:
            await self.aclose()
            raise
        self.is_open = True
        return answer

    async def _run(self, keys: Sequence[bytes], argument: bytes) -> Any:
        ask: Callable[..., Awaitable[Any]] = self._do if self._is_cluster else self._ask
        words = (b"%d" % len(keys), *keys, argument)
        try:
            return await ask("EVALSHA", DIGEST, *words)
        except NoScriptError:
            return await ask("EVAL", SCRIPT, *words)

    async def _ask(self, command: str, *words: bytes) -> Any:
        """Do a command over the one connection that this client keeps for itself: what is sent for every call goes this
        way, for which redis-py has no more to do than to send and to receive."""
        connection = self._connection or await self._reserved()
        await connection.send_packed_command(packed(command.encode(), *words), check_health=False)
        return await connection.read_response(disable_decoding=True)

    async def _reserved(self) -> Any:
        single = self._of_redis().client()
        self._closers.insert(0, single.aclose)
        await single.initialize()
        self._connection = single.connection
        return single.connection

    async def _do(self, *words: str | bytes | int) -> Any:
        return await self._of_redis().execute_command(*words)

    def _of_redis(self) -> Any:
        if self._redis is None:
            self._redis = self._connect(in_cluster=self._is_cluster)
        return self._redis

    def _connect(self, *, in_cluster: bool) -> Any:
        # Of an exchange as a whole the time is limited: to limit each step costs a task in Python 3.11.
        options = {"retry": Retry(NoBackoff(), 0), "socket_timeout": None, **self._options}
        if in_cluster:
            cluster = RedisCluster.from_url(self._url, **options)
            # After an error redis-py takes a cluster for closed, and leaves the connections to its nodes open.
            nodes = cluster.nodes_manager
            self._closers += [cluster.aclose, nodes.aclose, partial(nodes.aclose, "startup_nodes")]
            return cluster
        if self._sentinels:
            sentinel = Sentinel([tuple(each) for each in self._sentinels], **options)  # type: ignore[no-untyped-call]
            master = sentinel.master_for(self._service)
            self._closers += [master.aclose, *(each.aclose for each in sentinel.sentinels)]
            return master
        single = Redis.from_url(self._url, **options)
        self._closers.append(single.aclose)
        return single

    async def aclose(self) -> None:
        """Close the connection. It is opened anew when it is needed again."""
        self.is_open = False
        self._redis = self._connection = None
        closers, self._closers = self._closers, []
        for close in closers:
            # What fails here is given up anyway, and that is all that is wanted of it.
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(self._timeout):
                    await close()


def packed(*words: bytes) -> bytes:
    """Write a command as Redis reads it: an array of strings, each behind its length."""
    return b"*%d\r\n%b" % (len(words), b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words]))


def _failure(error: Exception) -> StoreUnavailable:
    text = str(error)
    message = f"Redis: {type(error).__name__}: {text}"
    if type(error) is ResponseError and not any(word in text for word in PASSING):
        return ScriptFailed(message)
    return StoreUnavailable(message)
