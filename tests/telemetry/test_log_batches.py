"""Records in batches: what every handler gets is as if they came one by one, and a stream is written to a few times."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from ai_gateway.telemetry.log_batches import MOST, hand_out

NAME = "tests.log_batches"


class Pipe(io.StringIO):
    """A stream that remembers what was written to it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return super().write(text)


class Collecting(logging.Handler):
    """A handler of the site's own."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def logger() -> logging.Logger:
    """A logger that has no handlers, and none above it: Python's tree does not know it."""
    return logging.Logger(f"{NAME}.calls", logging.INFO)


@pytest.fixture
def pipe(logger: logging.Logger) -> Pipe:
    made = Pipe()
    logger.addHandler(logging.StreamHandler(made))
    return made


def records(*messages: object, level: int = logging.INFO) -> list[logging.LogRecord]:
    return [logging.LogRecord(NAME, level, "", 0, message, (), None) for message in messages]


def lines(count: int, length: int = 500) -> list[str]:
    return [f"{number:03} ".ljust(length - 1, "x") for number in range(count)]


class TestStream:
    def test_it_gets_whole_lines_in_their_order_and_many_at_once(self, logger: logging.Logger, pipe: Pipe) -> None:
        told = lines(100)
        hand_out(logger, records(*told))
        assert pipe.getvalue().splitlines() == told
        assert len(pipe.written) == 13  # 8 lines of 500 bytes are less than 4096.
        assert all(text.endswith("\n") for text in pipe.written)

    def test_nothing_is_larger_than_what_reaches_a_pipe_whole(self, logger: logging.Logger, pipe: Pipe) -> None:
        hand_out(logger, records(*lines(50, 1025), *["猫" * 300] * 10))
        assert max(len(text.encode()) for text in pipe.written) <= MOST

    def test_a_line_that_is_longer_is_written_alone(self, logger: logging.Logger, pipe: Pipe) -> None:
        hand_out(logger, records("short", "x" * 5000, "short again"))
        assert pipe.written == ["short\n", "x" * 5000 + "\n", "short again\n"]

    def test_half_of_a_letter_does_not_stop_it(self, logger: logging.Logger, pipe: Pipe) -> None:
        hand_out(logger, records("\ud800"))
        assert pipe.getvalue() == "\ud800\n"

    def test_its_level_and_its_filters_hold(self, logger: logging.Logger, pipe: Pipe) -> None:
        (handler,) = logger.handlers
        handler.addFilter(lambda record: record.getMessage() != "no")
        hand_out(logger, records("yes", "no"))
        handler.setLevel(logging.WARNING)
        hand_out(logger, records("neither"))
        hand_out(logger, records("but this", level=logging.WARNING))
        assert pipe.getvalue() == "yes\nbut this\n"

    def test_what_cannot_be_written_as_text_is_left_out_and_said(
        self, logger: logging.Logger, pipe: Pipe, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bad = logging.LogRecord(NAME, logging.INFO, "", 0, "%d", ("x",), None)
        hand_out(logger, [*records("before"), bad, *records("behind")])
        assert pipe.getvalue() == "before\nbehind\n"
        assert "--- Logging error ---" in capsys.readouterr().err

    def test_a_stream_that_fails_harms_nobody(self, logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
        class Full(Pipe):
            def write(self, text: str) -> int:
                raise OSError("No space left on device")

        other = Pipe()
        logger.addHandler(logging.StreamHandler(Full()))
        logger.addHandler(logging.StreamHandler(other))
        hand_out(logger, records("line"))
        assert other.getvalue() == "line\n"
        assert "No space left on device" in capsys.readouterr().err


class TestOtherHandlers:
    def test_a_file_is_opened_by_its_first_record(self, logger: logging.Logger, tmp_path: Path) -> None:
        path = tmp_path / "calls.log"
        handler = logging.FileHandler(path, delay=True)
        logger.addHandler(handler)
        hand_out(logger, records("one", "two"))
        hand_out(logger, records("three", "four"))
        handler.close()
        assert path.read_text() == "one\ntwo\nthree\nfour\n"

    def test_what_is_derived_from_a_stream_has_its_own_way(self, logger: logging.Logger) -> None:
        class Counting(logging.StreamHandler[Pipe]):
            count = 0

            def emit(self, record: logging.LogRecord) -> None:
                self.count += 1
                super().emit(record)

        handler = Counting(Pipe())
        logger.addHandler(handler)
        hand_out(logger, records("one", "two"))
        assert (handler.count, handler.stream.getvalue()) == (2, "one\ntwo\n")

    def test_any_other_gets_each_record(self, logger: logging.Logger, pipe: Pipe) -> None:
        handler = Collecting()
        logger.addHandler(handler)
        hand_out(logger, records("one", "two"))
        assert (handler.messages, pipe.getvalue()) == (["one", "two"], "one\ntwo\n")


class TestLogger:
    def test_handlers_above_it_get_them_unless_it_keeps_them(self, logger: logging.Logger, pipe: Pipe) -> None:
        above = Collecting()
        logger.parent = logging.Logger(NAME)
        logger.parent.addHandler(above)
        hand_out(logger, records("passed on"))
        logger.propagate = False
        hand_out(logger, records("kept"))
        assert (above.messages, pipe.getvalue()) == (["passed on"], "passed on\nkept\n")

    def test_its_filters_hold_for_all_handlers(self, logger: logging.Logger, pipe: Pipe) -> None:
        logger.addFilter(lambda record: record.getMessage() != "no")
        hand_out(logger, records("no", "yes"))
        hand_out(logger, records("no"))
        assert pipe.getvalue() == "yes\n"

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="a filter cannot give another record yet")
    def test_a_filter_may_put_another_in_a_records_place(self, logger: logging.Logger, pipe: Pipe) -> None:
        def masked(record: logging.LogRecord) -> Any:
            return records(record.getMessage().replace("secret", "***"))[0]

        logger.addFilter(masked)
        hand_out(logger, records("a secret"))
        assert pipe.getvalue() == "a ***\n"

    def test_one_that_is_disabled_is_silent(self, logger: logging.Logger, pipe: Pipe) -> None:
        logger.disabled = True
        hand_out(logger, records("line"))
        assert pipe.written == []

    @pytest.mark.parametrize("method", ["handle", "callHandlers"])
    def test_agents_that_watch_for_every_record_see_every_record(
        self, logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        seen, usual = [], getattr(logging.Logger, method)

        def watched(self: logging.Logger, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            usual(self, record)

        monkeypatch.setattr(logging.Logger, method, watched)
        hand_out(logger, records("one", "two"))
        assert seen == ["one", "two"] == pipe.getvalue().split()

    def test_and_so_do_those_that_watch_handlers(
        self, logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen, usual = [], logging.StreamHandler.emit

        def watched(self: logging.StreamHandler[Any], record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            usual(self, record)

        monkeypatch.setattr(logging.StreamHandler, "emit", watched)
        hand_out(logger, records("one", "two"))
        assert seen == ["one", "two"] == pipe.getvalue().split()

    @pytest.mark.parametrize(("level", "told"), [(logging.INFO, ""), (logging.WARNING, "line\n")])
    def test_warnings_go_to_stderr_where_nobody_handles_them(
        self, logger: logging.Logger, capsys: pytest.CaptureFixture[str], level: int, told: str
    ) -> None:
        hand_out(logger, records("line", level=level))
        assert capsys.readouterr().err == told
