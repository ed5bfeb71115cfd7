"""Counters in Redis that several processes share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.databases import ROOT
from tests.limits.charging import TTL, admits, quota, slot
from tests.limits.redis_bench import UNHURRIED, open_store, play, used
from tests.redis_server import PATIENCE, RedisServer


class TestProcesses:
    """Real ones."""

    def test_of_200_at_once_in_four_processes_exactly_as_many_are_admitted_as_there_is_room_for(
        self, server: RedisServer
    ) -> None:
        code = """
            verdicts = await asyncio.gather(*(take(store, quota(1, 20), slot(1000)) for _ in range(50)))
            print(sum(verdict.is_admitted for verdict in verdicts))
        """
        processes = [process(server, code) for _ in range(4)]
        assert sum(int(each.communicate(timeout=PATIENCE)[0]) for each in processes) == 20
        assert play(used(open_store(server), quota(1, 20), slot(1000))) == [20, 20]

    def test_what_a_killed_process_reserved_counts_as_spent_and_holds_nothing(self, server: RedisServer) -> None:
        code = """
            for _ in range(50):
                assert (await take(store, quota(1, 100), slot(50))).is_admitted
            print("all taken", flush=True)
            await asyncio.sleep(1000)
        """
        killed = process(server, code)
        assert killed.stdout is not None
        assert killed.stdout.readline() == "all taken\n"
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=PATIENCE)

        async def steps() -> None:
            assert not await admits(open_store(server), slot(50))
            later = open_store(server, clock=lambda: time.time() + TTL + 1)
            assert [await admits(later, quota(1, 100), slot(50)) for _ in range(51)] == [True] * 50 + [False]
            assert await used(later, quota(1, 100)) == [100]

        play(steps())

    def test_a_forked_process_leaves_its_parents_connection_alone(self, server: RedisServer) -> None:
        code = """
            await take(store, quota(1), slot())
            child = os.fork()
            if not child:
                # The parent's event loop is no loop of the child's.
                asyncio._set_running_loop(None)
                asyncio.set_event_loop(None)
                asyncio.run(take(store, quota(1)))
                os._exit(0)
            os.waitpid(child, 0)
            await take(store, quota(1))
            print([each.used for each in await states(store, quota(), slot())])
        """
        assert process(server, code).communicate(timeout=PATIENCE)[0] == "[3, 1]\n"


def process(server: RedisServer, steps: str) -> subprocess.Popen[str]:
    """Start a process that does this with a store."""
    code = (
        "import asyncio, os\n"
        "from ai_gateway.limits.redis import RedisStore\n"
        "from tests.limits.charging import quota, slot, states, take\n"
        "async def main():\n"
        f"    store = RedisStore({server.url!r}, timeout={UNHURRIED})\n"
        f"    if True:{steps}\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
