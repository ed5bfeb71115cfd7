"""The kit's answers on the fake provider's sockets: for what need not be known byte by byte."""

from __future__ import annotations

from ai_gateway.test import Answer
from ai_gateway.test.sent import Sent
from tests.upstream import LAST_CHUNK, End, Exchange, Pairs, Script, Step, chunk, head, play


def spoken(answer: Answer, headers: Pairs = ()) -> Script:
    """Answer in the format that is asked for, every piece in a chunk of its own."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        written = answer.to(_sent(exchange))
        fields = [*written.headers.items(), ("transfer-encoding", "chunked"), *headers]
        steps: list[Step] = [head(written.status, fields)]
        for step in written.steps:
            steps.append(chunk(step) if isinstance(step, bytes) else step if isinstance(step, float) else End.RESET)
        if steps[-1] is not End.RESET:
            steps.append(LAST_CHUNK)
        await play(*steps)(exchange)

    return script


def _sent(exchange: Exchange) -> Sent:
    request = exchange.request
    path, _, query = request.target.partition("?")
    return Sent(
        method=request.method,
        url=request.target,
        path=path,
        query=query,
        headers={name.lower(): value for name, value in request.headers},
        body=bytes(request.body),
    )
