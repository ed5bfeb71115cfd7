"""Recordings in the database: without credentials, encrypted, for those who may read them, each reading noted."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.utils import timezone
from pytest_django import Settings

from ai_gateway import recorded, registry
from ai_gateway.crypto import CryptoError
from ai_gateway.models import RecordedCall
from ai_gateway.recorder import Body, Recording, Unavailable
from tests.commands import run
from tests.control.rows import make_user
from tests.recording.test_recorder import recording

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

QUESTION = b'{"model": "m", "messages": [{"role": "user", "content": "caf\xc3\xa9"}]}'


@pytest.fixture(autouse=True)
def _switched_on(settings: Settings) -> None:
    settings.AI_GATEWAY = {"BODY_LOGGING": {}}


def made(request: bytes | None = QUESTION, response: bytes | None = b"{}", cut: int = 0, **fields: Any) -> Recording:
    bodies = {
        name: None if body is None else Body(body[: len(body) - cut], len(body))
        for name, body in (("request", request), ("response", response))
    }
    return msgspec.structs.replace(recording(), **{"at": timezone.now().timestamp(), **bodies, **fields})


def reader(*permissions: str, name: str = "reader") -> Any:
    user = make_user(name)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def opened(of: Recording) -> dict[str, Any]:
    document = recorded.document_of(uuid.UUID(of.id), reader("view_recordedcall", "view_usage"))
    assert document is not None
    return document


def test_what_is_read_is_what_passed() -> None:
    call = made(response=b"data: 1\n\n")
    recorded.store([call])
    document = opened(call)
    assert document["request"] == {
        "body": QUESTION.decode(),
        "encoding": "utf-8",
        "length": len(QUESTION),
        "is_cut": False,
    }
    assert document["response"]["body"] == "data: 1\n\n"
    assert document["response"]["status"] == 200
    assert "headers" not in document["request"]


def test_the_database_holds_no_plain_text() -> None:
    recorded.store([made()])
    row: Any = RecordedCall.objects.values().get()
    assert "café" not in str(row)
    assert row["document"].ciphertext.startswith("gw1:")


def test_what_is_no_text_is_kept_as_well_and_an_upload_is_not() -> None:
    call = made(request=None, response=b"\xff\xd8\x00")
    recorded.store([call])
    document = opened(call)
    assert document["request"]["body"] is None
    assert (document["response"]["body"], document["response"]["encoding"]) == ("/9gA", "base64")


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_body_that_is_cut_in_a_character_is_still_text(cut: int) -> None:
    call = made(response="é€😀".encode(), cut=cut)
    recorded.store([call])
    part = opened(call)["response"]
    assert (part["encoding"], part["is_cut"], part["length"]) == ("utf-8", True, 9)
    assert "é€😀".startswith(part["body"])
    assert RecordedCall.objects.get().is_cut


def test_headers_are_kept_without_credentials() -> None:
    headers = [(b"authorization", b"Bearer canary-0123456789"), (b"x-session-id", b"s-1")]
    call = made(request=b'{"a": "canary-0123456789"}', keeps_headers=True, request_headers=headers)
    recorded.store([call])
    document = opened(call)
    assert document["request"]["headers"] == [["authorization", "[redacted]"], ["x-session-id", "s-1"]]
    assert "canary" not in json.dumps(document)


def test_what_is_sent_to_a_provider_in_the_callers_place_is_taken_out_too(settings: Settings) -> None:
    options = {"base_url": "https://example.com/v1", "api_key": "canary-of-the-operator"}
    settings.AI_GATEWAY = {"BODY_LOGGING": {}, "PROVIDERS": {"own": {"BACKEND": "custom", "OPTIONS": options}}}
    registry.refresh()
    call = made(response=b'{"error": "Bearer canary-of-the-operator is unknown"}')
    recorded.store([call])
    assert opened(call)["response"]["body"] == '{"error": "Bearer [redacted] is unknown"}'


def test_one_that_comes_twice_is_kept_once() -> None:
    call = made()
    recorded.store([call])
    recorded.store([call, made()])
    assert RecordedCall.objects.count() == 2


def test_without_a_key_to_encrypt_with_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI_GATEWAY_ENCRYPTION_KEYS")
    with pytest.raises(Unavailable, match="no encryption key"):
        recorded.store([made()])
    assert not RecordedCall.objects.exists()


# The site's own redaction.


def without_names(document: recorded.Document) -> recorded.Document:
    document["request"]["body"] = document["request"]["body"].replace("café", "***")
    return document


def nothing(document: recorded.Document) -> None:
    return None


def raising(document: recorded.Document) -> recorded.Document:
    raise ValueError(document["request"]["body"])


def test_a_hook_changes_what_is_kept(settings: Settings) -> None:
    settings.AI_GATEWAY = {"BODY_LOGGING": {"redact": f"{__name__}.without_names"}}
    call = made()
    recorded.store([call])
    assert "***" in opened(call)["request"]["body"]


@pytest.mark.parametrize("hook", ["nothing", "raising", "not_there"])
def test_a_hook_that_fails_or_says_so_keeps_nothing(
    settings: Settings, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.AI_GATEWAY = {"BODY_LOGGING": {"redact": f"{__name__}.{hook}"}}
    recorded.store([made()])
    assert not RecordedCall.objects.exists()
    assert ("nothing is kept" in caplog.text) is (hook != "nothing")
    assert "café" not in caplog.text


def reading_json(document: recorded.Document) -> recorded.Document:
    body = json.loads(document["request"]["body"])
    return {**document, "request": {**document["request"], "body": json.dumps(body, ensure_ascii=False)}}


def of_another_type(document: recorded.Document) -> recorded.Document:
    return {**document, "request": object()}


def test_what_a_hook_reads_out_of_a_body_stands_in_nobodys_way(settings: Settings) -> None:
    settings.AI_GATEWAY = {"BODY_LOGGING": {"redact": f"{__name__}.reading_json"}}
    calls = [made(), made(request=b'{"content": "half a pair: \\ud800"}'), made()]
    recorded.store(calls)
    assert RecordedCall.objects.count() == 3
    assert "half a pair: ?" in opened(calls[1])["request"]["body"]


def test_a_hook_that_gives_what_is_no_json_keeps_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.AI_GATEWAY = {"BODY_LOGGING": {"redact": f"{__name__}.of_another_type"}}
    recorded.store([made()])
    assert not RecordedCall.objects.exists()
    assert "nothing is kept" in caplog.text


# Who reads what.


@pytest.mark.parametrize(
    ("permissions", "is_own", "may"),
    [
        (["view_recordedcall", "view_usage"], False, True),
        (["view_recordedcall"], True, True),
        (["view_recordedcall"], False, False),
        (["view_usage"], True, False),
        ([], True, False),
    ],
)
def test_who_may_read(permissions: list[str], is_own: bool, may: bool) -> None:
    user = reader(*permissions)
    call = made(user_id=user.pk if is_own else make_user("ann").pk)
    recorded.store([call])
    assert (recorded.document_of(uuid.UUID(call.id), user) is not None) is may
    assert (recorded.request_of(uuid.UUID(call.id), user) is not None) is may
    assert LogEntry.objects.filter(user=user, object_id=str(uuid.UUID(call.id))).count() == (2 if may else 0)


def test_the_request_is_given_to_whoever_sends_it_again() -> None:
    call = made()
    recorded.store([call])
    found = recorded.request_of(uuid.UUID(call.id), reader("view_recordedcall", "view_usage"))
    assert found == {"dialect": "openai_chat", "path": "/v1/chat/completions", "body": json.loads(QUESTION)}


@pytest.mark.parametrize("fields", [{"cut": 3}, {"request": b"[]"}, {"request": None}, {"request": b"\xff"}])
def test_what_is_no_whole_request_is_not_given(fields: dict[str, Any]) -> None:
    call = made(**fields)
    recorded.store([call])
    assert recorded.request_of(uuid.UUID(call.id), reader("view_recordedcall", "view_usage")) is None


def test_what_does_not_open_is_told_apart_from_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    call = made()
    recorded.store([call])
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", "")
    with pytest.raises(CryptoError):
        recorded.request_of(uuid.UUID(call.id), reader("view_recordedcall", "view_usage"))


# In the end.


def pruned(*arguments: str) -> str:
    return run("gateway_prune_usage", *arguments)[0]


@pytest.mark.parametrize(
    ("days", "arguments", "left"),
    [
        (5, ["--recordings"], 2),
        (None, ["--recordings"], 3),
        (30, ["--recordings"], 3),
        (30, ["--older-than", "1d"], 1),
        (5, ["--recordings", "--dry-run"], 3),
    ],
)
def test_recordings_go_when_their_time_is_over_and_with_their_records(
    settings: Settings, days: int | None, arguments: list[str], left: int
) -> None:
    settings.AI_GATEWAY = {"BODY_LOGGING": {"retention_days": days}}
    now = timezone.now()
    recorded.store([made(at=(now - timedelta(days=age)).timestamp()) for age in (0, 3, 10)])
    pruned(*arguments)
    assert RecordedCall.objects.count() == left


def test_what_is_left_of_a_site_that_keeps_no_more_goes_too(settings: Settings) -> None:
    settings.AI_GATEWAY = {}
    recorded.store([made()])
    RecordedCall.objects.update(recorded_at=timezone.now() - timedelta(days=31))
    assert "1 recorded bodies from before" in pruned("--recordings")
