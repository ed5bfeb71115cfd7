"""The head of an answer and the first of its body leave in one write."""

from __future__ import annotations

import asyncio

import pytest

from ai_gateway import gathering
from ai_gateway.gathering import GatheringTransport

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Recorder(asyncio.Transport):
    """Remembers what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.writes: list[bytes] = []
        self.is_closed = False
        self.is_cut = False
        self.unwritten: list[int] = []
        """How much is left to be written, at each look; nothing in the end."""

    def get_write_buffer_size(self) -> int:
        return self.unwritten.pop(0) if self.unwritten else 0

    def abort(self) -> None:
        self.is_cut = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def write(*pieces: bytes | None, closes: bool = False) -> list[bytes]:
    """Write these pieces, None being a turn of the loop, and give what reached the socket."""

    async def main() -> list[bytes]:
        recorder = Recorder()
        transport = GatheringTransport(recorder, asyncio.get_running_loop())
        for piece in pieces:
            if piece is None:
                await asyncio.sleep(0)
            else:
                if piece.startswith(HEAD):
                    transport.expect_head()
                transport.write(piece)
        if closes:
            transport.close()
            assert transport.is_closing()
        await asyncio.sleep(0)
        return recorder.writes

    return asyncio.run(main())


def test_a_head_and_what_follows_at_once_are_one_write() -> None:
    assert write(HEAD, b"body", b"more") == [HEAD + b"body", b"more"]


def test_a_head_alone_leaves_in_the_same_turn_of_the_loop() -> None:
    assert write(HEAD, None, b"late") == [HEAD, b"late"]


@pytest.mark.parametrize(("unwritten", "is_cut"), [([], False), ([9, 5], False), ([9, 5, 2, 2], True), ([9, 9], True)])
def test_a_closed_connection_whose_caller_takes_nothing_more_is_cut(
    monkeypatch: pytest.MonkeyPatch, unwritten: list[int], is_cut: bool
) -> None:
    monkeypatch.setattr(gathering, "PATIENCE", 0.0)

    async def main() -> Recorder:
        recorder = Recorder()
        recorder.unwritten = unwritten
        GatheringTransport(recorder, asyncio.get_running_loop()).close()
        for _ in range(10):
            await asyncio.sleep(0)
        return recorder

    recorder = asyncio.run(main())
    assert (recorder.is_closed, recorder.is_cut, recorder.unwritten) == (True, is_cut, [])


def test_an_answer_without_a_body_leaves_before_the_connection_is_closed() -> None:
    assert write(HEAD, closes=True) == [HEAD]


def test_two_answers_in_a_row_keep_their_order() -> None:
    assert write(HEAD, b"one", HEAD, b"two") == [HEAD + b"one", HEAD + b"two"]


def test_an_informational_head_leaves_with_the_real_one() -> None:
    continued = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"".join(write(continued, HEAD, b"body")) == continued + HEAD + b"body"


def test_lines_do_not_overtake_a_head() -> None:
    async def main() -> list[bytes]:
        recorder = Recorder()
        transport = GatheringTransport(recorder, asyncio.get_running_loop())
        transport.write(HEAD)
        transport.writelines([b"one", b"two"])
        return recorder.writes

    assert b"".join(asyncio.run(main())) == HEAD + b"onetwo"


def test_everything_else_is_the_transports_own() -> None:
    async def main() -> object:
        return GatheringTransport(Recorder(), asyncio.get_running_loop()).get_extra_info("peername")

    assert asyncio.run(main()) == ("192.0.2.1", 1)
