"""Gives many records to the handlers of a logger, so that a stream is written to a few times and not for every line.

That is not for the sake of the system calls alone. For each of them a thread lets go of the interpreter, and beside a
busy event loop it may wait 5 ms until it has it again: the thread that writes the lines of calls would fall behind.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from types import FunctionType
from typing import Any, TypeGuard

MOST = 4096
"""Bytes that are written at once. What several processes write to one pipe is not mixed up to that (`PIPE_BUF`)."""

IN_TOGETHER = (logging.StreamHandler, logging.FileHandler)
"""Handlers that do no more than write to a stream. What is derived from them may do anything for each record."""


OWN_FILE = logging.addLevelName.__code__.co_filename
"""Where Python's own code of `logging` comes from."""


def hand_out(logger: logging.Logger, records: Sequence[logging.LogRecord]) -> None:
    """Do for each record what `logger.handle` does; but one handler after the other, as each has all records at once.

    The records are of one level.
    """
    if not _is_ordinary(logger, "handle", "callHandlers"):
        for record in records:
            logger.handle(record)
        return
    if logger.disabled:
        return
    passed = list(_passed(logger, records))
    handlers = [handler for handler in _handlers(logger) if passed and passed[0].levelno >= handler.level]
    for handler in handlers:
        if _writes_to_stream(handler):
            _write(handler, passed)
        else:
            for record in passed:
                handler.handle(record)


def _writes_to_stream(handler: logging.Handler) -> TypeGuard[logging.StreamHandler[Any]]:
    """Whether it does no more than that. A file that is opened by its first record has no stream before it."""
    if not isinstance(handler, logging.StreamHandler) or type(handler) not in IN_TOGETHER:
        return False
    return handler.stream is not None and _is_ordinary(handler, "handle", "emit")


def _is_ordinary(object: logging.Filterer, *methods: str) -> bool:
    """Whether methods are Python's own. Agents that watch a process put theirs in the place of these, to see every
    record."""
    found = (getattr(type(object), name) for name in methods)
    return all(isinstance(each, FunctionType) and each.__code__.co_filename == OWN_FILE for each in found)


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Give the handlers of a logger and of those above it."""
    current: logging.Logger | None = logger
    is_found = False
    while current is not None:
        for handler in current.handlers:
            is_found = True
            yield handler
        current = current.parent if current.propagate else None
    if not is_found and logging.lastResort is not None:
        yield logging.lastResort


def _passed(filterer: logging.Filterer, records: Iterable[logging.LogRecord]) -> Iterator[logging.LogRecord]:
    """Give the records that pass its filters. From Python 3.12 on a filter may give another in a record's place."""
    for record in records:
        found = filterer.filter(record)
        if found:
            yield found if isinstance(found, logging.LogRecord) else record


def _write(handler: logging.StreamHandler[Any], records: Sequence[logging.LogRecord]) -> None:
    for text in _portions(_lines(handler, records)):
        handler.acquire()
        try:
            handler.stream.write(text)
            handler.flush()
        except Exception:
            handler.handleError(records[-1])
        finally:
            handler.release()


def _lines(handler: logging.StreamHandler[Any], records: Sequence[logging.LogRecord]) -> Iterator[str]:
    for record in _passed(handler, records):
        try:
            yield handler.format(record) + handler.terminator
        except Exception:
            handler.handleError(record)


def _portions(lines: Iterable[str]) -> Iterator[str]:
    """Put lines together, as far as they may be written at once. One that is longer is written alone."""
    portion: list[str] = []
    size = 0
    for line in lines:
        length = len(line) if line.isascii() else len(line.encode(errors="replace"))
        if portion and size + length > MOST:
            yield "".join(portion)
            portion, size = [], 0
        portion.append(line)
        size += length
    if portion:
        yield "".join(portion)
