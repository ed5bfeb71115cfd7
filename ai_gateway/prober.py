"""Asks providers now and then whether they are there, so that no call has to find out (`PROBES`). Off by default.

They are asked for the list of their models, with the gateway's own credential, because that costs nothing. An answer
tells that a provider can be reached and works, and not that a model of it does. So a probe is a witness of the provider
as a whole, and of nothing else:

* No answer, or one that the provider has failed (5xx), is a failure of all its targets on the routes. After some in a
  row their breakers open, before calls have met them.
* Any other answer ends the wait of those targets whose breakers are open because the provider was out of reach: the
  next call finds out, as it does when the time is over. A target that failed by answers of its own waits on.

Each process asks for itself, after a random pause each time, so that many of them do not ask in step.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ai_gateway import breakers, health, registry
from ai_gateway.conf import settings
from ai_gateway.probe import Finding, is_free, probe
from ai_gateway.registry import Snapshot
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePolicy:
    """What `AI_GATEWAY["PROBES"]` says."""

    providers: Sequence[str] = ()
    """Who is asked."""
    interval: float = 30.0
    """Seconds between two probes, on average."""
    timeout: float = 5.0
    """Seconds for which an answer is waited for."""


class Prober:
    """The tasks of one process, one for each provider."""

    def __init__(self, policy: ProbePolicy, transport: Transport) -> None:
        self._policy = policy
        self._transport = transport
        self._told: dict[str, str] = {}
        """What the log was told last, by provider, if that was no good news."""
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask."""
        aliases = dict.fromkeys(alias.lower() for alias in self._policy.providers)
        self._tasks = [asyncio.create_task(self._keep_asking(alias)) for alias in aliases]

    async def stop(self) -> None:
        """Ask nobody any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_asking(self, alias: str) -> None:
        while True:
            await asyncio.sleep(pause(self._policy.interval))
            try:
                await self.ask(alias)
            except Exception:
                logger.exception("The probe of %s failed", alias)

    async def ask(self, alias: str) -> None:
        """Ask a provider once, and note what comes of it. One that cannot be asked for free is not asked."""
        snapshot = registry.snapshot()
        provider = snapshot.providers.get(alias)
        if provider is None or not is_free(provider):
            self._tell(alias, "it cannot be asked for free")
        else:
            self._note(alias, await probe(provider, snapshot, self._transport, self._policy.timeout), snapshot)

    def _note(self, alias: str, finding: Finding, snapshot: Snapshot) -> None:
        failure = finding.failure
        if failure is not None and failure.is_fault:
            health.note(alias, failure.status, failure.code or "error", probed=True)
            targets = {target for route in snapshot.routes.values() for target in route if target.provider == alias}
            breakers.note_out_of_reach(alias, targets, snapshot.breakers)
        elif finding.status:
            health.note(alias, finding.status, probed=True)
            breakers.note_within_reach(alias)
        self._tell(alias, "" if finding.ok else finding.what)

    def _tell(self, alias: str, problem: str) -> None:
        """Log what has changed."""
        if problem == self._told.get(alias, ""):
            return
        self._told[alias] = problem
        if problem:
            logger.warning("The probe of %s found: %s", alias, problem)
        else:
            logger.info("The probe of %s found it well again.", alias)


def start(transport: Transport) -> Prober:
    """Begin to ask whom the settings name, if they name anybody."""
    prober = Prober(ProbePolicy(**settings.PROBES), transport)
    prober.start()
    return prober


def pause(interval: float) -> float:
    """Draw the seconds until the next probe."""
    return interval * random.uniform(0.5, 1.5)
