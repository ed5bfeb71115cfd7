"""The page about translation says what the code does."""

from __future__ import annotations

import pytest

from ai_gateway.protocols import PROTOCOLS
from tests.protocols.mapping import BEGIN, END, PAGE, SAMPLES, TITLES, Sample, outcome, write_tables


def test_the_tables_are_what_the_code_does() -> None:
    """Write them anew with `python -m tests.protocols.mapping`, and look at what changed."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    assert rest.partition(END)[0].strip() == write_tables().strip()


def test_every_format_has_its_table() -> None:
    assert set(SAMPLES) == set(TITLES) == set(PROTOCOLS)


@pytest.mark.parametrize(
    ("format", "sample"), [(format, sample) for format, (_, samples) in SAMPLES.items() for sample in samples], ids=str
)
def test_a_member_that_is_set_is_never_lost_in_silence(format: str, sample: Sample) -> None:
    """It is written, or dropped and reported, or refused. What has no effect is on a short list."""
    without_effect = {"`include` `reasoning.encrypted_content`", "`reasoning.summary`", "`service_tier`"}
    for to in set(PROTOCOLS) - {format}:
        assert outcome(format, sample, to) != "no effect" or sample.name in without_effect, to
