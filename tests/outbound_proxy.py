"""An outbound proxy for tests, of HTTP's CONNECT and of SOCKS5 at one port. Whatever host is asked for, it leads to the
same port of this machine: hosts need not exist, and who reaches one came through here."""

from __future__ import annotations

import base64
import ipaddress
import socket
import socketserver
import ssl
import threading
from contextlib import suppress
from typing import Any

PATIENCE = 20.0

HTTP_ANSWER = b"HTTP/1.1 200 Connection established\r\nvia: 1.1 test\r\n\r\n"
SOCKS_ANSWER = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


class OutboundProxy(socketserver.ThreadingTCPServer):
    """See the module. `answer` is what it says in place of its own answer; b"" for nothing, until its caller leaves."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, user: str = "", password: str = "", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.credentials = (user.encode(), password.encode()) if user else None
        self.tls = tls
        self.answer: bytes | None = None
        self.asked: list[str] = []
        """The hosts that were asked for, with their ports."""
        self.heads: list[bytes] = []
        self.left = threading.Semaphore(0)
        """Released for each caller that is gone."""
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more callers."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class Tunnel(socketserver.BaseRequestHandler):
    """One caller of the proxy."""

    server: OutboundProxy

    def handle(self) -> None:
        """Lead on whoever asks in one of the two ways."""
        self.request.settimeout(PATIENCE)
        with suppress(OSError, EOFError):
            if self.server.tls is not None:
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
            first = self.request.recv(1, socket.MSG_PEEK) if self.server.tls is None else b"C"
            port = self._asked_by_socks() if first == b"\x05" else self._asked_by_http()
            if port is not None:
                self._lead_to(port)
        with suppress(OSError):
            self.request.close()
        self.server.left.release()

    def _asked_by_http(self) -> int | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        self.server.heads.append(head)
        target = head.split(b" ")[1].decode()
        self.server.asked.append(target)
        if self.server.credentials is not None:
            given = b"Basic " + base64.b64encode(b":".join(self.server.credentials))
            if given not in head:
                self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                return None
        return self._answered(HTTP_ANSWER, target)

    def _asked_by_socks(self) -> int | None:
        methods = self._read(self._read(2)[1])
        if self.server.credentials is not None and 2 in methods:
            self.request.sendall(b"\x05\x02")
            self._read(1)
            given = tuple(self._read(self._read(1)[0]) for _ in range(2))
            is_known = given == self.server.credentials
            self.request.sendall(b"\x01\x00" if is_known else b"\x01\x01")
            if not is_known:
                return None
        else:
            self.request.sendall(b"\x05\x00" if self.server.credentials is None else b"\x05\xff")
            if self.server.credentials is not None:
                return None
        kind = self._read(4)[3]
        address = self._read(self._read(1)[0] if kind == 3 else {1: 4, 4: 16}[kind])
        host = address.decode() if kind == 3 else str(ipaddress.ip_address(address))
        target = f"{host}:{int.from_bytes(self._read(2), 'big')}"
        self.server.asked.append(target)
        return self._answered(SOCKS_ANSWER, target)

    def _answered(self, own: bytes, target: str) -> int | None:
        """Answer; give the port to lead to, if it is to lead on."""
        if self.server.answer is None:
            for place in range(len(own)):  # No answer has to come in one piece.
                self.request.sendall(own[place : place + 1])
            return int(target.rpartition(":")[2])
        self.request.sendall(self.server.answer)
        if not self.server.answer:
            self._read(1)
        return None

    def _lead_to(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as other:
            back = threading.Thread(target=passed, args=(other, self.request), daemon=True)
            back.start()
            passed(self.request, other)
            back.join(PATIENCE)

    def _read(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            piece = self.request.recv(count - len(read))
            if not piece:
                raise EOFError
            read += piece
        return read


def passed(source: Any, to: Any) -> None:
    """Pass on what comes from one side until it ends, and end the other."""
    with suppress(OSError):
        while piece := source.recv(65536):
            to.sendall(piece)
    for each in (source, to):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
