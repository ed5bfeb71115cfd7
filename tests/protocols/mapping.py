"""What becomes of each member of a request, for every pair of formats: found out by translating it.

The tables of docs/translation.md are written from this, by `python -m tests.protocols.mapping`, and a test holds the
page to what the code does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ai_gateway.capabilities import CapabilityTable
from ai_gateway.errors import BadRequest
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.protocol import Head, Outgoing
from ai_gateway.protocols.writing import write_request
from tests.protocols.mapping_samples import SAMPLES, Sample

PAGE = Path(__file__).parent.parent.parent / "docs" / "translation.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"

TITLES = {
    "openai_chat": "Chat Completions",
    "openai_responses": "Responses",
    "anthropic_messages": "Messages",
    "gemini": "Gemini",
    "bedrock_converse": "Converse",
}

MODELS = {
    "openai_chat": "openai/gpt-4o",
    "openai_responses": "openai/gpt-5",
    "anthropic_messages": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-3-flash-preview",
    "bedrock_converse": "bedrock/anthropic.claude-sonnet-4-5-v1:0",
}
"""The models that the tables are about: what a member becomes may depend on what the model can do."""


def translate(format: str, body: dict[str, Any], to: str) -> Outgoing:
    """Translate a request of one format to the model of the tables of another."""
    row, _, model = MODELS[to].partition("/")
    capabilities = CapabilityTable().of(row, row, model)
    request = PROTOCOLS[format].read_request(body, Head(model="m", stream=False), Carrier([b"key"]))
    destination = Destination(provider=row, model=model, format=to, capabilities=capabilities)
    return write_request(PROTOCOLS[to], request, destination)


def outcome(format: str, sample: Sample, to: str) -> str:
    """Say what becomes of a sample: the members that it is written as, "dropped", or "refused"."""
    plain, _ = SAMPLES[format]
    base = {"model": "m", **plain, **(sample.without or {})}
    before = translate(format, base, to)
    try:
        after = translate(format, {**base, **sample.members}, to)
    except BadRequest:
        return "refused"
    changed = dict.fromkeys(differences(before.body, after.body))
    emulated = after.emulation is not None and after.emulation != before.emulation
    new = [name.decode() for name, value in after.headers if (name, value) not in before.headers]
    words = [f"`{path}`" for path in changed] + [f"header `{name}`" for name in new]
    if emulated:
        words.append("(emulated)")
    if set(after.dropped) - set(before.dropped):
        words.append("(in part dropped)" if words else "dropped")
    return ", ".join(words).replace(", (", " (") or "no effect"


def differences(before: Any, after: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Give the paths at which two bodies differ, three members deep at most."""
    if before == after:
        return
    if isinstance(after, dict) and isinstance(before, dict | None) and depth < 3:
        before = before or {}
        for name in dict.fromkeys([*after, *before]):
            yield from differences(before.get(name), after.get(name), f"{path}.{name}" if path else name, depth + 1)
    else:
        yield path


def write_tables() -> str:
    """Write a table for each format of a caller."""
    lines: list[str] = []
    for format, (_, samples) in SAMPLES.items():
        others = [name for name in TITLES if name != format]
        lines += [f"### From {TITLES[format]}", ""]
        lines.append("| member | " + " | ".join(f"to {TITLES[name]}" for name in others) + " |")
        lines.append("|---" * (len(others) + 1) + "|")
        for sample in samples:
            cells = [outcome(format, sample, name) for name in others]
            lines.append(f"| {sample.name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + write_tables() + END + rest.partition(END)[2], encoding="utf-8")
