"""Log lines."""

from __future__ import annotations

import logging


class OneLineFormatter(logging.Formatter):
    """Write each record as one line, tracebacks included, so that nothing a caller sends can look like a record."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")
