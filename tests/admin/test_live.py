"""The page with the calls under way: whose one sees, and whose one may end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from ai_gateway import live
from ai_gateway.calls import Call, Caller, Target
from ai_gateway.meter import Meter
from tests.admin.conftest import Login
from tests.admin.pages import get, url
from tests.factories import make_arrival

pytestmark = pytest.mark.django_db

PAGE = "ai_gateway_live_changelist"


class Calls:
    """Calls that wait for ever, in an event loop that runs only when it is asked to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.tasks: list[asyncio.Task[Any]] = []

    def begin(self, model: str, user_id: Any = None, key: str = "k", served: str = "") -> None:
        arrival = make_arrival("/v1/chat/completions")
        call = Call(**{name: getattr(arrival, name) for name in SHARED}, body=b"", model=model)
        meter = Meter(arrival, Caller(key_name=key, user_id=user_id), call=call)
        if served:
            meter.target = Target("openai", served)

        async def wait() -> None:
            live.begin(meter)
            await asyncio.Event().wait()

        self.tasks.append(self.loop.create_task(wait()))
        self.turn()

    def turn(self) -> None:
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))

    def ended(self) -> list[bool]:
        self.turn()
        return [task.cancelled() for task in self.tasks]


SHARED = ("method", "path", "query", "headers", "fields", "dialect", "request_id", "received_at")


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls()
    yield made
    for task in made.tasks:
        task.cancel()
    made.turn()
    made.loop.close()
    live.forget()


def id_of(client: Client) -> str:
    return buttons(get(client, PAGE))[0]


def buttons(page: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'name="call" value="([^"]+)"', page)]


def me(client: Client) -> int:
    return int(client.session["_auth_user_id"])


def test_one_sees_ones_own_only(login: Login, calls: Calls) -> None:
    ann = login("view_usagerecord", name="ann")
    calls.begin("mine", me(ann))
    calls.begin("theirs", 0)
    page = get(ann, PAGE)
    assert "mine" in page
    assert "theirs" not in page
    assert "1 call under way" in page


def test_who_may_see_usage_sees_everybodys_the_oldest_first_and_by_model(login: Login, calls: Calls) -> None:
    for model in ("first", "second", "second"):
        calls.begin("alias", served=model)
    page = get(login("view_usage"), PAGE)
    assert page.index("openai/first") < page.index("openai/second")
    assert "asked for as alias" in page
    assert re.search(r'<th scope="row">openai/second</th><td>2</td>', page)


def test_a_stranger_sees_nothing(login: Login) -> None:
    assert login().get(url(PAGE)).status_code == 403


def test_the_part_that_changes_is_given_alone(login: Login, calls: Calls) -> None:
    calls.begin("m")
    part = get(login("view_usage", "cancel_call"), PAGE, fragment="1", model="m")
    assert part.strip().startswith("<p")
    assert 'AI_GATEWAY["PEERS"]' in part, "there is no Redis, and other processes are not asked"
    assert "<html" not in part
    assert 'action="?model=m"' in part, "what is posted leads back to the whole page"


def test_calls_are_filtered_by_model_and_key(login: Login, calls: Calls) -> None:
    calls.begin("model-1", key="red")
    calls.begin("model-2", key="blue")
    boss = login("view_usage")
    assert "model-2" not in get(boss, PAGE, model="model-1", fragment="1")
    assert "model-1" not in get(boss, PAGE, key="blue", fragment="1")


def test_ones_own_call_one_may_end(login: Login, calls: Calls) -> None:
    ann = login("view_usagerecord", name="ann")
    calls.begin("mine", me(ann))
    response = ann.post(url(PAGE), {"call": id_of(ann), "request_id": "req_1"}, follow=True)
    assert "The call req_1 is ended." in response.content.decode()
    assert calls.ended() == [True]
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_repr) == ("ann", "req_1")


def test_anybodys_call_needs_the_permission(login: Login, calls: Calls) -> None:
    calls.begin("theirs", 0)
    looker, ann = login("view_usage", name="looker"), login("view_usagerecord", name="ann")
    boss = login("view_usage", "cancel_call", name="operator")
    assert buttons(get(looker, PAGE)) == []
    call = id_of(boss)
    for client in (looker, ann):
        page = client.post(url(PAGE), {"call": call}, follow=True).content.decode()
        assert "not yours to end" in page
    assert calls.ended() == [False]
    boss.post(url(PAGE), {"call": call, "request_id": "req_1"})
    assert calls.ended() == [True]


def test_to_end_a_call_takes_a_token_against_forgery(login: Login, calls: Calls) -> None:
    calls.begin("mine")
    boss = login(is_superuser=True, name="root")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = boss.cookies
    assert strict.post(url(PAGE), {"call": id_of(boss)}).status_code == 403
    assert calls.ended() == [False]


def test_the_index_names_the_page(login: Login) -> None:
    assert "Calls under way" in login("view_usagerecord").get("/admin/").content.decode()
