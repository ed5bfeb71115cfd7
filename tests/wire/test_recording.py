"""What is recorded of calls equals what passed, through both doors; and nothing is unless somebody said so."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests import databases
from tests.conftest import GATEWAY_KEY
from tests.raw_client import RawClient, RawConnection
from tests.upstream import End, Upstream, event_stream, json_answer
from tests.wire.conftest import ControlledGateway, Share
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, DIALECTS, JSON

one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

PATIENCE = 10.0
MAX = 600

FIND = """
from ai_gateway import recorded
record = UsageRecord.objects.filter(request_id=name).first()
row = None if record is None else RecordedCall.objects.filter(pk=record.pk).first()
result = None
if row is not None:
    result = json.loads(recorded.DOCUMENT.open(row).reveal())
    result["is_cut"] = row.is_cut
    result["user"], result["key"] = row.user_id, row.key_id
elif record is not None:
    result = False
"""
SWITCH = "VirtualKey.objects.update(records_bodies=True)"


class Site:
    """A gateway that records, and a look at what it recorded."""

    def __init__(self, gateway: ControlledGateway) -> None:
        self.gateway = gateway
        self.raw = gateway.raw
        self._count = 0

    def new_id(self) -> tuple[str, str]:
        self._count += 1
        return "x-request-id", f"recorded-{time.monotonic_ns()}-{self._count}"

    def recorded(self, request_id: tuple[str, str]) -> Any:
        """Wait until a call is recorded. False: it was written down, and not recorded for a while."""
        deadline = time.monotonic() + PATIENCE
        quiet = 0
        while time.monotonic() < deadline and quiet < 15:
            found = self.gateway.shell.run(f"import json{FIND}", name=request_id[1])
            if found:
                return found
            quiet += found is False
            time.sleep(0.1)
        return False


@pytest.fixture
def site(share: Share, door: Any) -> Site:
    return Site(share(door, BODY_LOGGING={"keys": ["team-a"], "max_bytes": MAX, "headers": True}))


@one_database
def test_a_plain_call_is_recorded_as_it_passed(site: Site, upstream: Upstream) -> None:
    answer = {"id": "c-1", "choices": [{"message": {"role": "assistant", "content": "Hé"}}]}
    upstream.answer(json_answer(answer))
    name = site.new_id()
    body = {**CHAT, "user": f"my key is {GATEWAY_KEY}"}
    got = site.raw.post(CHAT_PATH, body, [BEARER, name])
    found = site.recorded(name)
    assert found["request"]["body"] == json.dumps({**CHAT, "user": "my key is [redacted]"})
    assert found["response"]["body"].encode() == got.body
    assert (found["response"]["status"], found["dialect"], found["path"]) == (200, "openai_chat", CHAT_PATH)
    assert ["authorization", "[redacted]"] in found["request"]["headers"]
    assert ["x-request-id", name[1]] in found["response"]["headers"]
    assert GATEWAY_KEY not in json.dumps(found)
    assert not found["is_cut"]


@one_database
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_stream_is_recorded_as_it_passed(site: Site, upstream: Upstream, dialect: Any) -> None:
    upstream.answer(event_stream(*dialect.events))
    name = site.new_id()
    got = site.raw.post(dialect.stream_path, dialect.stream_body, [BEARER, name])
    found = site.recorded(name)
    assert found["response"]["body"].encode() == got.body[:MAX]
    assert found["is_stream"]


@one_database
def test_bodies_that_are_too_long_are_cut_and_marked(site: Site, upstream: Upstream) -> None:
    upstream.answer(json_answer({"choices": [{"message": {"content": "y" * 5000}}]}))
    name = site.new_id()
    body = {**CHAT, "user": "x" * 3000}
    got = site.raw.post(CHAT_PATH, body, [BEARER, name])
    found = site.recorded(name)
    assert found["is_cut"]
    for part, whole in ((found["request"], json.dumps(body).encode()), (found["response"], got.body)):
        assert (part["body"].encode(), part["length"], part["is_cut"]) == (whole[:MAX], len(whole), True)


@one_database
def test_of_a_caller_that_hangs_up_what_passed_is_recorded(site: Site, upstream: Upstream) -> None:
    first = CHAT_DIALECT.events[0]
    upstream.answer(event_stream(first, End.STALL))
    name = site.new_id()
    connection = RawConnection(site.gateway.process.port)
    connection.request("POST", CHAT_PATH, [BEARER, JSON, name], json.dumps({**CHAT, "stream": True}).encode())
    connection.read_head()
    connection.read_text_until(first)
    connection.close()
    assert site.recorded(name)["response"]["body"].encode() == first


@one_database
def test_a_caller_that_hangs_up_before_the_answer_has_asked(site: Site, upstream: Upstream) -> None:
    upstream.answer(event_stream(End.STALL))
    name = site.new_id()
    connection = RawConnection(site.gateway.process.port)
    connection.request("POST", CHAT_PATH, [BEARER, JSON, name], json.dumps(CHAT).encode())
    upstream.wait_for_requests()
    connection.close()
    found = site.recorded(name)
    assert json.loads(found["request"]["body"]) == CHAT
    assert (found["response"]["status"], found["response"]["body"]) == (0, None)


@one_database
def test_a_refusal_is_recorded_and_what_is_switched_on_in_the_database(site: Site) -> None:
    refused, switched, other = site.new_id(), site.new_id(), site.new_id()
    site.raw.post(CHAT_PATH, CHAT, [BEARER, refused, ("x-provider", "nobody")])
    assert site.recorded(refused)["response"]["status"] == 400
    token = site.gateway.issue("ann")
    site.gateway.ask(token, x_request_id=other[1])
    assert site.recorded(other) is False
    site.gateway.shell.run(SWITCH)
    deadline = time.monotonic() + PATIENCE
    found: Any = False
    while not found and time.monotonic() < deadline:
        switched = site.new_id()
        site.gateway.ask(token, x_request_id=switched[1])
        found = site.recorded(switched)
    assert found["user"] is not None
    assert found["key"] is not None


def test_nothing_is_recorded_by_default(raw: RawClient, upstream: Upstream, site_database: databases.Database) -> None:
    upstream.answer(json_answer({}))
    ledger, name = LedgerReader(site_database["NAME"]), new_request_id()
    assert raw.post(CHAT_PATH, CHAT, [BEARER, ("x-request-id", name)]).status == 200
    ledger.entry(name)
    assert ledger.query("SELECT * FROM ai_gateway_recordedcall") == []
