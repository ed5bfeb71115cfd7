"""The samples for containers, read as data: they are not run here."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from tests.deployment.proxies import SAMPLES

ROOT = SAMPLES.parent.parent


class Instruction(NamedTuple):
    """An instruction of a Dockerfile: its name, and what comes after it on its lines."""

    name: str
    text: str


def read_dockerfile() -> list[Instruction]:
    """Read the instructions of the Dockerfile."""
    text = (SAMPLES / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [Instruction(*re.split(r"\s+", line.strip(), maxsplit=1)) for line in lines if line.strip()]


def read_compose() -> dict[str, Any]:
    """Read compose.yaml, with what its services share put into each."""
    return yaml.safe_load((SAMPLES / "compose.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def read_kubernetes() -> dict[str, dict[str, Any]]:
    """Read the objects of kubernetes.yaml by their kind, of which there is one each."""
    objects = list(yaml.safe_load_all((SAMPLES / "kubernetes.yaml").read_text(encoding="utf-8")))
    by_kind = {each["kind"]: each for each in objects}
    assert len(by_kind) == len(objects)
    return by_kind


def read_environment() -> dict[str, str]:
    """Read env.example."""
    lines = (SAMPLES / "env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def seconds(text: str) -> int:
    """Read a duration of compose.yaml: `50s`, `1m`."""
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]
