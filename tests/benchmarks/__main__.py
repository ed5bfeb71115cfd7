"""`python -m tests.benchmarks [--quick] [--own] [--only NAME ...] [--json FILE] [--write PAGE]`."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import uvloop

from tests.benchmarks.lineup import PEERS
from tests.benchmarks.processes import cpus_of_others
from tests.benchmarks.report import machine, report, written
from tests.benchmarks.scenarios import QUICK, Effort, Failed, Sample, Scenario
from tests.benchmarks.servers import Peer, Running, upstream_running
from tests.benchmarks.suite import SCENARIOS


def say(line: str) -> None:
    """Tell on stderr what is going on; stdout is for the report."""
    print(line, file=sys.stderr, flush=True)


class Bench:
    """One run of scenarios over servers, in rounds. Servers are paused while another is measured."""

    def __init__(self, peers: Sequence[Peer], effort: Effort, upstream: int, folder: Path) -> None:
        self.peers = peers
        self.effort = effort
        self.upstream = upstream
        self.folder = folder
        self.chance = random.Random()
        self.samples: dict[str, dict[str, list[Sample]]] = {}
        self.failures: dict[str, dict[str, str]] = defaultdict(dict)

    def run(self, scenarios: Sequence[Scenario]) -> None:
        """Run all of them: first those that want their servers fresh, then those that find them running."""
        self.samples = {scenario.name: defaultdict(list) for scenario in scenarios}
        for scenario in scenarios:
            if scenario.is_fresh:
                self._run_fresh(scenario)
        together = [scenario for scenario in scenarios if not scenario.is_fresh]
        wanted = {name for scenario in together for name in scenario.peers}
        with self._running_together([peer for peer in self.peers if peer.name in wanted]) as servers:
            for scenario in together:
                self._run_together(scenario, [server for server in servers if server.name in scenario.peers])

    def _rounds(self, scenario: Scenario) -> range:
        return range(min(self.effort.rounds, scenario.rounds or self.effort.rounds))

    def _run_fresh(self, scenario: Scenario) -> None:
        peers = [peer for peer in self.peers if peer.name in scenario.peers]
        for _ in self._rounds(scenario):
            for peer in self.chance.sample(peers, len(peers)):
                try:
                    with peer.running(self.upstream, self.folder) as server:
                        self._measure(scenario, server)
                except (RuntimeError, OSError) as error:
                    self._note(scenario, peer.name, str(error))

    @contextmanager
    def _running_together(self, peers: Sequence[Peer]) -> Iterator[list[Running]]:
        with ExitStack() as stack:
            servers = []
            for peer in peers:
                try:
                    servers.append(stack.enter_context(peer.running(self.upstream, self.folder)))
                except (RuntimeError, OSError) as error:
                    say(f"skipped: {peer.name}: {error}")
                else:
                    servers[-1].process.pause()
            yield servers

    def _run_together(self, scenario: Scenario, servers: Sequence[Running]) -> None:
        for _ in self._rounds(scenario):
            for server in self.chance.sample(servers, len(servers)):
                if server.name in self.failures[scenario.name]:
                    continue
                server.process.resume()
                try:
                    self._measure(scenario, server)
                finally:
                    server.process.pause()

    def _measure(self, scenario: Scenario, server: Running) -> None:
        try:
            sample = uvloop.run(scenario.measure(server, self.upstream, self.effort))
        except (Failed, OSError) as error:
            self._note(scenario, server.name, str(error))
        else:
            self.samples[scenario.name][server.name].append(sample)
            say(f"{scenario.name}: {server.name}: " + ", ".join(f"{k} {v:.4g}" for k, v in sample.items()))

    def _note(self, scenario: Scenario, name: str, reason: str) -> None:
        self.failures[scenario.name][name] = reason
        say(f"{scenario.name}: {name} FAILED: {reason}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything: to see that it works")
    parser.add_argument("--own", action="store_true", help="the scenarios of the gateway's own doors, too")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*SCENARIOS, *PEERS], default=[],
                        help=f"scenarios ({', '.join(SCENARIOS)}) and servers ({', '.join(PEERS)})")  # fmt: skip
    parser.add_argument("--rounds", type=int, help="how often every server is measured")
    parser.add_argument("--seconds", type=float, help="how long each time")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where `tests.benchmarks.peers` installed them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to this file as well")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the figures into this page")
    return parser.parse_args()


def chosen_peers(only: Sequence[str]) -> list[Peer]:
    """Give the servers that were asked for and can run; say why the others cannot."""
    peers = [peer for name, peer in PEERS.items() if name in only] or list(PEERS.values())
    for peer in peers:
        if reason := peer.why_not():
            say(f"skipped: {peer.name}: {reason}")
    return [peer for peer in peers if not peer.why_not()]


def chosen_scenarios(options: argparse.Namespace) -> list[Scenario]:
    """Give those that were named, else those that compare, and with `--own` the short ones of the own doors."""
    named = [scenario for name, scenario in SCENARIOS.items() if name in options.only]
    every = [each for each in SCENARIOS.values() if not each.is_long and (options.own or not each.is_own)]
    return named or every


def allow_many_sockets() -> None:
    """Raise the limit of open files as far as the system lets us; servers inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure_all(options: argparse.Namespace) -> Bench:
    """Start the mock upstream and run what was asked for."""
    effort = QUICK if options.quick else Effort()
    effort = replace(effort, rounds=options.rounds or effort.rounds, seconds=options.seconds or effort.seconds)
    with tempfile.TemporaryDirectory(prefix="gateway-benchmark-") as folder, upstream_running(Path(folder)) as upstream:
        os.sched_setaffinity(0, cpus_of_others())
        bench = Bench(chosen_peers(options.only), effort, upstream, Path(folder))
        bench.run(chosen_scenarios(options))
        return bench


def main() -> None:
    """Measure, print, and keep the samples if asked to."""
    options = arguments()
    if options.peers:
        os.environ["BENCHMARK_PEERS"] = str(options.peers)
    allow_many_sockets()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # Or servers would stay behind, stopped.
    began_at = time.monotonic()
    bench = measure_all(options)
    say(f"{time.monotonic() - began_at:.0f} s")
    print("\n".join(report(bench.samples, bench.failures)))
    if options.json:
        told = {"machine": machine(), "samples": bench.samples, "failures": bench.failures}
        options.json.write_text(json.dumps(told, indent=1))
    if options.write:
        options.write.write_text(written(options.write.read_text(), bench.samples, bench.failures))


if __name__ == "__main__":
    main()
