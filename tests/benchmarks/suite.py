"""Every scenario, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.endurance import Big, Disconnect, Idle, Soak
from tests.benchmarks.scenarios import (
    Crowd,
    Latency,
    Paced,
    Prompt,
    Rate,
    Request,
    Scenario,
    Stream,
    Translated,
    Workers,
)

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Request(), Prompt(), Latency(), Rate(), Stream(), Paced(), Crowd(), Workers(), Translated(), Idle(),
        Disconnect(), Big(), Soak(),
    )
}  # fmt: skip
