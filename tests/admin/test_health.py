"""The page that shows how providers do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from ai_gateway import breakers, cooldowns, gossip, peers
from ai_gateway.breakers import BreakerPolicy
from ai_gateway.calls import Target
from ai_gateway.models import BreakerEvent, Provider
from tests.admin.conftest import Login

pytestmark = pytest.mark.django_db

URL = "/admin/ai_gateway/provider/health/"
TARGET = Target("openai", "gpt-5")
POSTED = {"provider": "openai", "model": "gpt-5"}


def text_of(client: Client, url: str = URL) -> str:
    response = client.get(url)
    assert response.status_code == 200
    assert response["Cache-Control"].startswith("max-age=0")
    return response.content.decode()


def open_breaker(target: Target = TARGET) -> None:
    breakers.note(target, BreakerPolicy(consecutive=1), is_good=False)


def answer(process: str, state: str = "open", reason: str = "5 failures in a row", left: float = 20.0) -> Any:
    told = {"provider": "openai", "model": "gpt-5", "state": state, "failures": 5, "reason": reason}
    return {
        "targets": [{**told, "seconds_left": left}],
        "credentials": [],
        "calls": {"under_way": 3, "waiting": 1},
        "process": process,
    }


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes: two say the same of a target."""
    answers = [answer("h:1"), answer("h:2", left=25.0), answer("h:3", "half-open", left=0.0)]

    async def ask(kind: str, message: dict[str, Any], within: float = 0.5) -> list[dict[str, Any]]:
        return answers if kind == gossip.HEALTH else [{}, {}, {}]

    monkeypatch.setattr(peers, "ask", ask)


def test_all_is_well(boss: Client) -> None:
    page = text_of(boss)
    assert "Every target is asked in its turn." in page
    assert "This process only" in page
    assert "No breaker has opened or closed yet." in page


def test_what_is_not_well_is_shown_with_the_reason(boss: Client) -> None:
    open_breaker()
    open_breaker(Target("groq", None))
    cooldowns.rest("openai", "second", 300)
    BreakerEvent.objects.create(
        at=datetime(2026, 1, 2, tzinfo=UTC), event="opened", provider="openai", model="gpt-5", reason="why", seconds=30
    )
    page = text_of(boss)
    for shown in ("openai/gpt-5", "groq/*", "1 failure in a row", "second", "opened", "why"):
        assert shown in page
    page = text_of(boss, f"{URL}?provider=groq")
    assert "groq/*" in page
    assert "openai/gpt-5" not in page


def test_what_several_processes_say_alike_is_one_row(boss: Client, several: None) -> None:
    page = text_of(boss)
    assert page.count("Close the breaker of gpt-5") == 2
    assert "h:1, h:2" in page
    assert ">25<" in page


def test_a_breaker_is_closed_in_all_processes_and_who_did_is_noted(boss: Client, several: None) -> None:
    heard: list[Any] = []
    breakers.listeners.append(heard.append)
    provider = Provider.objects.create(alias="openai", backend="openai")
    open_breaker()
    response = boss.post(URL, POSTED, follow=True)
    assert "closed in 3 processes" in response.content.decode()
    assert breakers.standings() == []
    assert (heard[-1].what, heard[-1].reason) == ("closed", "closed by boss")
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(provider.pk), "Changed breaker of gpt-5: closed.")


def test_a_provider_of_the_settings_has_a_history_too(boss: Client) -> None:
    boss.post(URL, {"provider": "groq"})
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (None, "groq")
    assert "groq" in text_of(boss, "/admin/ai_gateway/provider/changes/")


def test_who_may_only_look_closes_nothing(login: Login) -> None:
    open_breaker()
    client = login("view_provider")
    assert "Close the breaker" not in text_of(client)
    assert client.post(URL, POSTED).status_code == 403
    assert breakers.standings()
    assert login("view_limit", name="other").get(URL).status_code == 403


def test_a_breaker_is_not_closed_by_another_site(boss: Client) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = boss.cookies
    assert client.post(URL, POSTED).status_code == 403


def test_it_is_linked_from_where_people_look(boss: Client) -> None:
    provider = Provider.objects.create(alias="openai", backend="openai")
    for url in ("/admin/ai_gateway/provider/", "/admin/ai_gateway/breakerevent/"):
        assert f'href="{URL}"' in text_of(boss, url)
    assert f'href="{URL}?provider=openai"' in boss.get(f"/admin/ai_gateway/provider/{provider.pk}/change/").text


def test_events_are_listed_and_nobody_changes_them(boss: Client) -> None:
    event = BreakerEvent.objects.create(at=datetime(2026, 1, 2, tzinfo=UTC), event="closed", provider="openai")
    page = boss.get("/admin/ai_gateway/breakerevent/?q=openai").text
    assert "closed" in page
    for view in ("add/", f"{event.pk}/delete/"):
        assert boss.get(f"/admin/ai_gateway/breakerevent/{view}").status_code == 403
