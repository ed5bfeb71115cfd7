"""The line of a call in the log."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from ai_gateway.ledger_writer import announce
from ai_gateway.telemetry import logs
from tests.ledger.entries import entry

CALL: dict[str, Any] = {
    "request_id": "req_1",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "key_name": "team-a",
    "user_id": 7,
    "provider": "openai",
    "served_model": "gpt-5-mini",
    "model": "fast",
    "route": "fast",
    "endpoint": "chat/completions",
    "status": 200,
    "attempts": 1,
    "duration_ms": 1234,
    "overhead_us": 150,
    "input_tokens": 1000,
    "output_tokens": 200,
    "cost_nanos": 650_000,
}


def line(caplog: pytest.LogCaptureFixture, formatter: logging.Formatter, **columns: Any) -> str:
    """Finish a call, and give what is written of it."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "ai_gateway.calls"):
        announce([entry(**columns)])
    (record,) = caplog.records
    return formatter.format(record)


def level(**columns: Any) -> int:
    return logs.level_of(entry(**columns))


def test_a_line_of_json_tells_who_what_how_and_how_much(caplog: pytest.LogCaptureFixture) -> None:
    found = json.loads(line(caplog, logs.JsonFormatter(), **CALL))
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "info",
        "logger": "ai_gateway.calls",
        "started_at": "2026-09-21T14:13:20.000Z",
        "request_id": "req_1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "key": "team-a",
        "user": 7,
        "provider": "openai",
        "model": "gpt-5-mini",
        "requested_model": "fast",
        "route": "fast",
        "endpoint": "chat/completions",
        "outcome": "answered",
        "status": 200,
        "attempts": 1,
        "duration_ms": 1234,
        "overhead_ms": 0.15,
        "input_tokens": 1000,
        "output_tokens": 200,
        "cost": 0.00065,
    }


def test_the_same_as_names_and_values(caplog: pytest.LogCaptureFixture) -> None:
    found = line(caplog, logs.KeyValueFormatter(), **{**CALL, "cost_nanos": None})
    assert found.split(" ", 1)[1] == (
        "level=info logger=ai_gateway.calls started_at=2026-09-21T14:13:20.000Z request_id=req_1 "
        "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 key=team-a user=7 provider=openai model=gpt-5-mini "
        "requested_model=fast route=fast endpoint=chat/completions outcome=answered status=200 attempts=1 "
        "duration_ms=1234 overhead_ms=0.15 input_tokens=1000 output_tokens=200 cost=null"
    )


def test_any_other_formatter_writes_names_and_values(caplog: pytest.LogCaptureFixture) -> None:
    found = line(caplog, logging.Formatter("%(levelname)s %(message)s"), model="50%s off")
    assert found == (
        "INFO started_at=2026-09-21T14:13:20.000Z request_id=req_1 "
        'requested_model="50%s off" outcome=answered status=0 attempts=0 duration_ms=0 cost=null'
    )


NASTY = 'x\n{"level": "error"}\r\u2028\x1b[2J" outcome=hacked \ud800'


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.KeyValueFormatter()])
def test_no_value_ends_a_line_or_looks_like_another_field(
    caplog: pytest.LogCaptureFixture, formatter: logging.Formatter
) -> None:
    found = line(caplog, formatter, model=NASTY, error_code=NASTY, endpoint=NASTY)
    assert found.isascii()
    assert found.isprintable()
    assert json.dumps(NASTY) in found


def test_letters_of_all_languages_are_written_in_ascii(caplog: pytest.LogCaptureFixture) -> None:
    found = line(caplog, logs.JsonFormatter(), key_name="Zoë 猫")
    assert found.isascii()
    assert json.loads(found)["key"] == "Zoë 猫"


@pytest.mark.parametrize(
    ("outcome", "status", "level_name"),
    [
        ("answered", 200, "INFO"),
        ("limited", 429, "INFO"),
        ("disconnected", 200, "INFO"),
        ("refused", 503, "INFO"),
        ("failed", 400, "INFO"),
        ("timed_out", 408, "INFO"),
        ("failed", 429, "WARNING"),
        ("failed", 200, "WARNING"),
        ("failed", 502, "WARNING"),
        ("timed_out", 504, "WARNING"),
        ("stopped", 503, "WARNING"),
    ],
)
def test_failures_of_the_provider_and_the_gateway_are_warnings(outcome: str, status: int, level_name: str) -> None:
    assert logging.getLevelName(level(outcome=outcome, status=status)) == level_name


def test_what_the_level_leaves_out_is_not_even_put_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(logs, "fields_of")
    with caplog.at_level(logging.WARNING, "ai_gateway.calls"):
        logs.write([entry()])
    assert not caplog.records


def test_the_calls_of_a_batch_have_lines_in_its_order_whatever_their_levels(caplog: pytest.LogCaptureFixture) -> None:
    calls = [entry(request_id=f"req_{number}", status=500 if number == 2 else 200) for number in range(4)]
    calls[2].outcome = "failed"
    with caplog.at_level(logging.INFO, "ai_gateway.calls"):
        announce(calls)
    told = [
        (record.levelname, json.loads(logs.JsonFormatter().format(record))["request_id"]) for record in caplog.records
    ]
    assert told == [("INFO", "req_0"), ("INFO", "req_1"), ("WARNING", "req_2"), ("INFO", "req_3")]


def test_a_record_has_all_that_python_gives_to_one() -> None:
    (record,) = logs.records_of([entry(**CALL)], logging.INFO)
    usual = logging.getLogger("ai_gateway.calls").makeRecord("ai_gateway.calls", 20, "", 0, "", (), None)
    assert type(record) is logging.LogRecord
    assert vars(record).keys() == vars(usual).keys() | {"call"}
    assert (record.name, record.levelname, record.module, record.funcName) == (
        "ai_gateway.calls", "INFO", "logs", "write"
    )  # fmt: skip
    assert (record.process, record.threadName) == (usual.process, usual.threadName)


def test_records_of_the_sites_own_make_are_made_for_each_call(request: pytest.FixtureRequest) -> None:
    class Numbered(logging.LogRecord):
        count = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            Numbered.count += 1
            self.number = Numbered.count

    request.addfinalizer(lambda: logging.setLogRecordFactory(logging.LogRecord))
    logging.setLogRecordFactory(Numbered)
    found = logs.records_of([entry(), entry()], logging.INFO)
    assert [vars(record)["number"] for record in found] == [1, 2]
    assert all(str(vars(record)["call"]) == record.getMessage() for record in found)


def test_other_records_have_the_same_form() -> None:
    try:
        raise ValueError("line\nbreak")
    except ValueError:
        record = logging.LogRecord("django", logging.ERROR, "", 0, "Failed: %s", ("a b",), sys.exc_info())
    found = json.loads(logs.JsonFormatter().format(record))
    assert (found["level"], found["logger"], found["message"]) == ("error", "django", "Failed: a b")
    assert found["exception"].startswith("Traceback")
    text = logs.KeyValueFormatter().format(record)
    assert ' message="Failed: a b" exception="Traceback' in text
    assert "\n" not in text
