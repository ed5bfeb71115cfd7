"""The built-in provider: it answers every dialect without a network, by repeating what the caller said last.

`answers` is the answer in memory, `prompt` reads what was asked; then one module per API writes the answers.
"""

from __future__ import annotations

from ai_gateway.providers.echo.provider import EchoProvider

__all__ = ["EchoProvider"]
