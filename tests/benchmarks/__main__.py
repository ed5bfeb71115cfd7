"""`python -m tests.benchmarks [--quick] [--only NAME ...] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import uvloop

from tests.benchmarks.processes import cpus_of_others
from tests.benchmarks.report import Results, machine, report
from tests.benchmarks.scenarios import QUICK, SCENARIOS, Effort, Failed, Sample, Scenario
from tests.benchmarks.servers import PEERS, Peer, Running, upstream_running


def say(line: str) -> None:
    """Tell on stderr what is going on; stdout is for the report."""
    print(line, file=sys.stderr, flush=True)


class Bench:
    """One run of scenarios over servers, in rounds."""

    def __init__(self, peers: Sequence[Peer], effort: Effort, upstream: int, folder: Path) -> None:
        self.peers = peers
        self.effort = effort
        self.upstream = upstream
        self.folder = folder
        self.chance = random.Random()

    def run(self, scenario: Scenario) -> dict[str, list[Sample]]:
        """Measure every server once per round, in another order each time."""
        peers = [peer for peer in self.peers if peer.name in scenario.peers]
        samples: dict[str, list[Sample]] = {peer.name: [] for peer in peers}
        for server in self._fresh(peers) if scenario.is_fresh else self._side_by_side(peers):
            try:
                sample = uvloop.run(scenario.measure(server, self.upstream, self.effort))
            except Failed as error:
                say(f"{scenario.name}: {server.name} FAILED: {error}")
            else:
                samples[server.name].append(sample)
                say(f"{scenario.name}: {server.name}: " + ", ".join(f"{k} {v:.4g}" for k, v in sample.items()))
        return samples

    def _fresh(self, peers: Sequence[Peer]) -> Iterator[Running]:
        for _ in range(self.effort.rounds):
            for peer in self.chance.sample(peers, len(peers)):
                with peer.running(self.upstream, self.folder) as server:
                    yield server

    def _side_by_side(self, peers: Sequence[Peer]) -> Iterator[Running]:
        with ExitStack() as stack:
            servers = [stack.enter_context(peer.running(self.upstream, self.folder)) for peer in peers]
            for _ in range(self.effort.rounds):
                yield from self.chance.sample(servers, len(servers))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything: to see that it works")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*SCENARIOS, *PEERS], default=[],
                        help=f"scenarios ({', '.join(SCENARIOS)}) and servers ({', '.join(PEERS)})")  # fmt: skip
    parser.add_argument("--rounds", type=int, help="how often every server is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to this file as well")
    return parser.parse_args()


def chosen_peers(only: Sequence[str]) -> list[Peer]:
    """Give the servers that were asked for and can run; say why the others cannot."""
    peers = [peer for name, peer in PEERS.items() if name in only] or list(PEERS.values())
    for peer in peers:
        if reason := peer.why_not():
            say(f"skipped: {peer.name}: {reason}")
    return [peer for peer in peers if not peer.why_not()]


def allow_many_sockets() -> None:
    """Raise the limit of open files as far as the system lets us; servers inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure_all(options: argparse.Namespace) -> Results:
    """Start the mock upstream and run what was asked for."""
    effort = QUICK if options.quick else Effort()
    effort = replace(effort, rounds=options.rounds or effort.rounds)
    scenarios = [SCENARIOS[name] for name in SCENARIOS if name in options.only]
    scenarios = scenarios or [scenario for scenario in SCENARIOS.values() if not scenario.is_long]
    with tempfile.TemporaryDirectory(prefix="gateway-benchmark-") as folder, upstream_running(Path(folder)) as upstream:
        os.sched_setaffinity(0, cpus_of_others())
        bench = Bench(chosen_peers(options.only), effort, upstream, Path(folder))
        return {scenario.name: bench.run(scenario) for scenario in scenarios}


def main() -> None:
    """Measure, print, and keep the samples if asked to."""
    options = arguments()
    allow_many_sockets()
    results = measure_all(options)
    print("\n".join(report(results)))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "samples": results}, indent=1))


if __name__ == "__main__":
    main()
