"""A caller on bare sockets: it sends exactly the bytes it is told to, and shows exactly the bytes that come back."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

Pairs = Iterable[tuple[str, str]]
PATIENCE = 20.0
"""Seconds until a test gives up waiting for bytes."""


class ConnectionEnded(Exception):
    """The gateway closed the connection where more bytes were due."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """One response. `body` is without the chunked framing; `raw_body` with it."""

    raw_head: bytes
    version: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    raw_body: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, head: bytes) -> Answer:
        line, *fields = head.decode("latin-1").split("\r\n")
        version, status = line.split(" ")[:2]
        headers = [(name.lower(), value.strip()) for name, _, value in (item.partition(":") for item in fields)]
        return cls(raw_head=head, version=version, status=int(status), headers=headers)

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        """The value of a header that must not stand twice; None without it."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def json(self) -> Any:
        """The body as JSON, which the content type must say that it is."""
        content_type = self.header("content-type") or ""
        assert content_type.startswith("application/json"), (self.status, self.headers, self.body[:500])
        return json.loads(self.body)

    @property
    def is_chunked(self) -> bool:
        return self.header("transfer-encoding") == "chunked"

    @property
    def is_last(self) -> bool:
        """Whether the gateway said that it closes the connection."""
        return self.header("connection") == "close"


def write_request(method: str, target: str, headers: Pairs = (), body: bytes | None = None) -> bytes:
    """Write a request as a well-behaved client does, `host` and `content-length` included unless given."""
    fields = [(name, value) for name, value in headers]
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("host", "gateway.test"))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        fields.append(("content-length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


class RawConnection:
    """One connection to the gateway."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def request(self, method: str, target: str, headers: Pairs = (), body: bytes | None = None) -> None:
        """Send a request as a well-behaved client does."""
        self.send(write_request(method, target, headers, body))

    def receive(self) -> bytes:
        """Receive what comes next; b"" if the gateway has closed."""
        return self.socket.recv(65536)

    def _more(self) -> None:
        data = self.receive()
        if not data:
            raise ConnectionEnded(bytes(self.buffer))
        self.buffer += data

    def read_until(self, mark: bytes) -> bytes:
        """Read up to a mark, which is taken too and not given."""
        while mark not in self.buffer:
            self._more()
        data, _, rest = bytes(self.buffer).partition(mark)
        self.buffer[:] = rest
        return data

    def read_exactly(self, count: int) -> bytes:
        """Read so many bytes."""
        while len(self.buffer) < count:
            self._more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read_head(self) -> Answer:
        """Read the head of the next response."""
        return Answer.parse(self.read_until(b"\r\n\r\n"))

    def read_chunk(self) -> bytes:
        """Read one chunk of a chunked body; b"" is the last."""
        size = int(self.read_until(b"\r\n"), 16)
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def chunks(self) -> Iterator[bytes]:
        """Read a chunked body to its end."""
        while data := self.read_chunk():
            yield data

    def read_text_until(self, mark: bytes) -> bytes:
        """Read chunks until a mark has come; give all that came."""
        data = b""
        while mark not in data:
            piece = self.read_chunk()
            if not piece:
                raise ConnectionEnded(data)
            data += piece
        return data

    def read_body(self, answer: Answer, method: str = "GET") -> None:
        """Read the body that belongs to a head."""
        length = answer.header("content-length")
        if method == "HEAD" or answer.status in (204, 304):
            return
        if answer.is_chunked:
            answer.body = b"".join(self.chunks())
        elif length is not None:
            answer.body = self.read_exactly(int(length))
        else:
            answer.body = self.read_to_end()

    def read_answer(self, method: str = "GET") -> Answer:
        """Read a whole response."""
        answer = self.read_head()
        self.read_body(answer, method)
        return answer

    def read_to_end(self) -> bytes:
        """Read until the gateway closes."""
        try:
            while True:
                self._more()
        except (ConnectionEnded, ConnectionResetError):
            data = bytes(self.buffer)
            self.buffer.clear()
            return data

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close as an ordinary client does."""
        self.socket.close()

    def reset(self) -> None:
        """Vanish with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class RawClient:
    """Opens connections to one gateway, and closes them all at the end of the test."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connections: list[RawConnection] = []

    def connect(self, receive_buffer: int | None = None) -> RawConnection:
        """Open a connection."""
        connection = RawConnection(self.port, receive_buffer)
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections:
            connection.close()

    def call(self, method: str, target: str, headers: Pairs = (), body: bytes | None = None) -> Answer:
        """Send one request on a connection of its own and read the answer."""
        with RawConnection(self.port) as connection:
            connection.request(method, target, headers, body)
            return connection.read_answer(method)

    def get(self, target: str, headers: Pairs = ()) -> Answer:
        """GET."""
        return self.call("GET", target, headers)

    def post(self, target: str, value: Any, headers: Pairs = ()) -> Answer:
        """POST a value as JSON, or bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.call("POST", target, [("content-type", "application/json"), *headers], body)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes on a connection of its own, and give everything that comes until the gateway closes it."""
        with RawConnection(self.port) as connection:
            connection.send(data)
            return connection.read_to_end()
