"""Who has connected is let in, and who connects is overlooked."""

from __future__ import annotations

import socket
import sys

import pytest

from ai_gateway.packet_filter import turn_away


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux filters")
def test_who_has_connected_is_let_in_and_who_connects_is_overlooked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as early:
        turn_away(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), 0.1)
        accepted, _ = listener.accept()
        with accepted:
            early.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
