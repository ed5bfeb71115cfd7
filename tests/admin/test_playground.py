"""The playground in the admin: who may use it, what its views answer, and the page without a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient, Client

from ai_gateway import gateway, playground_page, recorded, registry
from ai_gateway.calls import Arrival, Caller, Reply, ReplyBody
from ai_gateway.crypto import CryptoError
from tests.admin.conftest import Login
from tests.admin.pages import get, url
from tests.control.rows import make_provider, make_route
from tests.usage.rows import record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

PAGE = "ai_gateway_playground"
PROMPT: dict[str, Any] = {"model": "echo/echo-1", "messages": [{"role": "user", "text": "Good day"}]}
FORM = {"model": "echo/echo-1", "format": "openai_chat", "message": "Good day"}


@pytest.fixture
def player(login: Login) -> Client:
    """Somebody who may use the playground, and nothing else."""
    make_provider("echo")
    return login("use_playground")


def post(client: Client, view: str, document: Any, **extra: Any) -> Any:
    return client.post(url(f"{PAGE}_{view}"), json.dumps(document), content_type="application/json", **extra)


def lines_of(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def user_of(client: Client) -> Any:
    return client.session["_auth_user_id"]


# Who may.


def test_page__is_in_the_index_of_those_who_may_use_it(player: Client, login: Login) -> None:
    assert url(PAGE) == "/admin/ai_gateway/playground/"
    assert url(PAGE) in player.get("/admin/").content.decode()
    other = login("view_route", name="other")
    assert url(PAGE) not in other.get("/admin/").content.decode()
    assert other.get(url(PAGE)).status_code == 403


def test_page__is_linked_from_a_route(login: Login) -> None:
    route = make_route("fast", "echo/echo-1")
    link = f"{url(PAGE)}?route=fast"
    assert link in get(login("view_route", "use_playground"), "ai_gateway_route_change", route.pk)
    assert link not in get(login("view_route", name="other"), "ai_gateway_route_change", route.pk)


@pytest.mark.parametrize("view", ["answer", "code", "models"])
def test_views__turn_away_who_may_not_use_it(view: str, login: Login, client: Client) -> None:
    for somebody in (client, login("view_route"), login("use_playground", name="customer", is_staff=False)):
        found = somebody.get(url(f"{PAGE}_models")) if view == "models" else post(somebody, view, PROMPT)
        assert found.status_code == 403
        assert found.json()["problem"]["title"] == "Not permitted"


@pytest.mark.parametrize("view", ["answer", "code", "page"])
def test_views__want_the_token_of_the_page(view: str, player: Client) -> None:
    stranger = Client(enforce_csrf_checks=True)
    stranger.cookies = player.cookies
    if view == "page":
        assert stranger.post(url(PAGE), FORM).status_code == 403
    else:
        assert post(stranger, view, PROMPT).status_code == 403
        token = stranger.get(url(PAGE)).cookies["csrftoken"].value
        assert post(stranger, view, PROMPT, HTTP_X_CSRFTOKEN=token).status_code == 200


def test_views__are_asked_as_they_are_meant_to_be(player: Client) -> None:
    assert player.get(url(f"{PAGE}_answer")).status_code == 405
    assert player.get(url(f"{PAGE}_code")).status_code == 405
    assert player.post(url(f"{PAGE}_models")).status_code == 405


# An answer.


def test_answer__tells_the_request_the_head_the_bytes_and_what_they_say(player: Client) -> None:
    """Under WSGI it comes at once."""
    answer = post(player, "answer", {**PROMPT, "stream": False})
    assert answer["content-type"] == "application/x-ndjson"
    sent, head, raw, rest, end = lines_of(answer.content)
    assert sent["request"]["path"] == "/v1/chat/completions"
    assert sent["request"]["body"]["messages"] == [{"role": "user", "content": "Good day"}]
    assert sent["explanation"] is None
    assert head["head"]["status"] == 200
    assert dict(head["head"]["headers"])["x-gateway-provider"] == "echo"
    assert json.loads(raw["raw"])["object"] == "chat.completion"
    assert [event["what"] for event in rest["events"]] == ["text", "finished"]
    assert rest["events"][0]["text"] == "Good day"
    assert end["ended"]


def test_answer__explains_itself_to_those_who_may_see_routes(login: Login) -> None:
    make_provider("echo")
    make_route("fast", "echo/echo-1", "echo/echo-2")
    found = lines_of(post(login("use_playground", "view_route"), "answer", {**PROMPT, "model": "fast"}).content)
    assert "is a route, whose targets are asked in order" in found[0]["explanation"]["reason"]
    assert [each["name"] for each in found[0]["explanation"]["targets"]] == ["echo/echo-1", "echo/echo-2"]


@pytest.mark.parametrize(
    ("changes", "title", "words"),
    [
        ({"model": "nowhere/x"}, "The provider has no credential", "has no credential in this gateway"),
        ({"tools": "["}, "This cannot be sent", "Line 1, column 2"),
        ({"messages": []}, "This cannot be sent", "no message"),
    ],
)
def test_answer__what_went_wrong_is_told_for_people(
    changes: dict[str, Any], title: str, words: str, player: Client
) -> None:
    (problem,) = [
        each["problem"] for each in lines_of(post(player, "answer", {**PROMPT, **changes}).content) if "problem" in each
    ]
    assert title in problem["title"]
    assert words in problem["message"]


def test_answer__a_route_that_is_not_open_to_the_user_does_not_exist(player: Client) -> None:
    make_route("secret", "echo/echo-1", is_public=False)
    (problem,) = [
        each["problem"]
        for each in lines_of(post(player, "answer", {**PROMPT, "model": "secret"}).content)
        if "problem" in each
    ]
    assert problem["title"] == "There is no such model for you"


def test_answer__a_prompt_that_is_too_long_is_refused(player: Client, settings: Any) -> None:
    settings.AI_GATEWAY = {"MAX_BODY_BYTES": 1000}
    registry.forget()
    long = {**PROMPT, "messages": [{"role": "user", "text": "x" * 1000}]}
    (line,) = lines_of(post(player, "answer", long).content)
    assert line["problem"]["message"] == "The prompt is longer than 1000 bytes."


# As it comes, and as the user.


class Body(ReplyBody):
    """A body that waits before each piece until it is let go on."""

    caller: Any = None

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.gate = asyncio.Event()
        self.is_closed = False
        self.is_broken = False

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        await self.gate.wait()
        self.gate.clear()
        return self.pieces.pop(0)

    async def aclose(self) -> None:
        self.is_closed = True


def chunk(text: str) -> bytes:
    delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk', 'model': 'm', **delta})}\n\n".encode()


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> Body:
    """The body of whatever is asked, and who asked."""
    body = Body(chunk("one"), chunk("two"), chunk("three"))

    async def handle(arrival: Arrival, transport: object, caller: Caller) -> Reply:
        body.caller = caller
        return Reply(status=200, headers=[(b"content-type", b"text/event-stream")], body=body)

    monkeypatch.setattr(gateway, "handle", handle)
    return body


async def streamed(client: Client) -> AsyncIterator[bytes]:
    asynchronous = AsyncClient()
    asynchronous.cookies = client.cookies
    response: Any = await asynchronous.post(url(f"{PAGE}_answer"), json.dumps(PROMPT), content_type="application/json")
    assert response["x-accel-buffering"] == "no"
    assert "no-cache" in response["cache-control"]
    found: AsyncIterator[bytes] = aiter(response)
    return found


def test_answer__passes_each_piece_on_as_it_comes_and_the_call_is_the_users(player: Client, body: Body) -> None:
    @async_to_sync
    async def read() -> None:
        answer = await streamed(player)
        assert b"request" in await anext(answer)
        assert b"head" in await anext(answer)
        for text in ("one", "two"):
            body.gate.set()
            line = json.loads(await anext(answer))
            assert line["events"][-1]["text"] == text
        await answer.aclose()  # type: ignore[attr-defined]

    user = user_of(player)
    read()
    assert len(body.pieces) == 1
    caller = body.caller
    assert str(caller.user_id) == user
    assert (caller.key_id, caller.is_authenticated) == (None, True)


def test_answer__ends_the_call_when_the_page_hangs_up(player: Client, body: Body) -> None:
    @async_to_sync
    async def leave() -> None:
        answer = await streamed(player)
        await anext(answer)
        assert body.caller is None, "nothing is asked before somebody reads"
        await anext(answer)
        body.gate.set()
        await anext(answer)
        waiting = asyncio.ensure_future(anext(answer))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await answer.aclose()  # type: ignore[attr-defined]

    leave()
    assert body.is_closed


# What the page asks besides.


def test_code__is_written_for_curl_and_the_sdk_of_the_format(player: Client) -> None:
    found = post(player, "code", {**PROMPT, "format": "anthropic_messages"}).json()["snippets"]
    assert [each["title"] for each in found] == ["curl", "Python, Anthropic SDK", "JavaScript"]
    assert all("GATEWAY_KEY" in each["text"] for each in found)
    assert "http://testserver/v1/messages" in found[0]["text"]


def test_code__says_what_is_wrong(player: Client) -> None:
    problem = post(player, "code", {**PROMPT, "schema": '{"type": }'}).json()["problem"]
    assert (problem["field"], problem["message"]) == ("schema", "Line 1, column 10: Expecting value.")


def test_models__are_those_that_the_user_may_use(player: Client) -> None:
    make_route("open", "echo/echo-1")
    make_route("secret", "echo/echo-1", is_public=False)
    listed = player.get(url(f"{PAGE}_models")).json()["models"]
    assert {"open", "echo/echo-1"} <= set(listed)
    assert "secret" not in listed


def test_call__tells_what_one_of_the_users_own_calls_cost(player: Client, login: Login) -> None:
    record(request_id="req_mine", user_id=user_of(player), cost_nanos=1_500_000, input_tokens=7, output_tokens=0).save()
    found = player.get(url(f"{PAGE}_call", "req_mine")).json()["call"]
    assert (found["cost"], found["tokens"], found["url"]) == ("$0.0015", [["input tokens", 7]], "")
    assert player.get(url(f"{PAGE}_call", "req_none")).json() == {"call": None}
    other = login("use_playground", "view_usagerecord", name="other")
    assert other.get(url(f"{PAGE}_call", "req_mine")).json() == {"call": None}


# The page.


def test_page__begins_with_what_its_address_says(player: Client) -> None:
    make_route("fast", "echo/echo-1")
    for query in ({"model": "fast"}, {"route": "fast"}):
        page = get(player, PAGE, **query)
        assert 'name="model" list="play-known" value="fast"' in page
        assert '<option value="fast">' in page
        assert '"isGiven": true' in page


RECORD = "01912345-0000-7000-8000-000000000000"


def test_page__begins_with_a_recorded_call(player: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"model": "fast", "max_tokens": 5, "messages": [{"role": "user", "content": "What was asked"}]}
    found = {"dialect": "anthropic_messages", "path": "/v1/messages", "body": body}
    asked: list[tuple[str, str]] = []

    def request_of(record_id: UUID, user: Any) -> dict[str, Any]:
        asked.append((str(record_id), str(user.pk)))
        return found

    monkeypatch.setattr(recorded, "request_of", request_of)
    page = get(player, PAGE, record=RECORD)
    assert asked == [(RECORD, user_of(player))]
    assert "What was asked" in page
    assert '<option value="anthropic_messages" selected>' in page
    assert 'value="5"' in page


def test_page__says_that_a_recorded_call_does_not_open(player: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def request_of(record_id: UUID, user: Any) -> None:
        raise CryptoError("no key")

    monkeypatch.setattr(recorded, "request_of", request_of)
    assert "its encryption key is missing" in get(player, PAGE, record=RECORD)


@pytest.mark.parametrize("wanted", [RECORD, "nonsense"])
def test_page__says_that_no_request_was_kept(wanted: str, player: Client) -> None:
    assert "no request was kept" in get(player, PAGE, record=wanted)


def test_page__without_a_script_answers_the_form(player: Client) -> None:
    page = player.post(url(PAGE), FORM).content.decode()
    assert '<div class="play-text">Good day</div>' in page
    assert "<dt>x-gateway-provider</dt><dd>echo</dd>" in page
    assert "curl --no-buffer" in page
    assert "chat.completion" in page


def test_page__without_a_script_says_what_is_wrong(player: Client) -> None:
    wrong = player.post(url(PAGE), {**FORM, "tools": "[\n{]"}).content.decode()
    assert "This cannot be sent" in wrong
    assert "Line 2, column 2" in wrong
    assert "The provider has no credential" in player.post(url(PAGE), {**FORM, "model": "none/x"}).content.decode()
    assert "Expected" in player.post(url(PAGE), {**FORM, "temperature": "warm"}).content.decode()


def test_page__without_a_script_takes_images(player: Client, rf: Any) -> None:
    request = rf.post("/", {**FORM, "image": SimpleUploadedFile("a.png", b"hello", "image/png")})
    assert playground_page.posted(request).messages[0].images == ["data:image/png;base64,aGVsbG8="]
    wrong = SimpleUploadedFile("a.html", b"hello", "text/html")
    assert "Images are PNG" in player.post(url(PAGE), {**FORM, "image": wrong}).content.decode()


def test_page__writes_what_was_said_as_text(player: Client) -> None:
    page = player.post(url(PAGE), {**FORM, "message": "<img src=x onerror=alert(1)></script>"}).content.decode()
    assert "<img" not in page
    assert "alert(1)></script>" not in page


@pytest.mark.parametrize("field", ["extra", "schema"])
def test_half_of_a_character_is_refused(player: Client, field: str) -> None:
    page = player.post(url(PAGE), {**FORM, field: r'{"a": "\ud800"}'})
    assert page.status_code == 200
    assert "This is no JSON" in page.content.decode()
