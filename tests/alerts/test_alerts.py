"""Alerts: what is told, by whom, how often, and what becomes of it if nobody takes it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from ai_gateway import alerts, daemons
from ai_gateway.alerts import desk as desks
from ai_gateway.alerts import register, sources
from ai_gateway.alerts.base import Channel, Letter, News, Undelivered
from ai_gateway.alerts.desk import Desk
from ai_gateway.alerts.email import Email
from ai_gateway.alerts.error_rates import LEAST_CALLS, ErrorRates
from ai_gateway.alerts.webhook import Webhook, signature
from ai_gateway.allowances import LimitRule
from ai_gateway.calls import Caller, Target
from ai_gateway.credentials import Secret
from ai_gateway.meter import Entry
from ai_gateway.models import Alert
from ai_gateway.signals import breaker_closed, breaker_opened, call_finished, limit_reached, limit_warning
from tests.alerts.receiver import Receiver
from tests.control.rows import make_key, make_user
from tests.patience import PATIENCE, until
from tests.threads import none_can_start

DOWN = News("provider_down", "openai/gpt-5", "openai/gpt-5 is not well.", {"provider": "openai"})
LETTER = Letter("msg_1", 1_700_000_000.0, DOWN)
HOUR = 3600.0


# How a provider does.


def rates(*minutes: tuple[int, int]) -> Any:
    """Note so many calls, and so many of them errors, minute by minute."""
    made, found = ErrorRates(), None
    for number, (calls, errors) in enumerate(minutes):
        for call in range(calls):
            found = made.note(number * 60.0, is_error=call < errors)
    return found


@pytest.mark.parametrize(
    ("minutes", "is_alert", "is_well"),
    [
        pytest.param([(LEAST_CALLS, LEAST_CALLS)], True, False, id="all fail"),
        pytest.param([(LEAST_CALLS - 1, LEAST_CALLS - 1)], False, False, id="too few to say"),
        pytest.param([(100, 0)], False, True, id="none fails"),
        pytest.param([(100, 15)], False, False, id="a few fail, as elsewhere"),
        pytest.param([*[(20, 0)] * 60, *[(20, 8)] * 5], True, False, id="many more than before"),
        pytest.param([*[(20, 8)] * 65], False, True, id="as many as ever"),
        pytest.param([(50, 50), *[(20, 0)] * 70], False, True, id="long ago"),
    ],
)
def test_a_provider_is_measured_by_the_hour_before(
    minutes: list[tuple[int, int]], is_alert: bool, is_well: bool
) -> None:
    found = rates(*minutes)
    assert (found.is_alert, found.is_well) == (is_alert, is_well)


def test_a_clock_that_was_ahead_is_forgotten() -> None:
    made = ErrorRates()
    made.note(24 * HOUR, is_error=True)
    for _ in range(3):
        jump = made.note(60.0, is_error=False)
    assert (jump.rate, jump.calls) == (0.0, 3)


# Who tells of it.


@pytest.mark.django_db
class TestRegister:
    def test_of_all_who_see_it_one_tells(self) -> None:
        assert [register.claim(DOWN, HOUR) for _ in range(3)] == [True, False, False]
        row = Alert.objects.get()
        assert (row.kind, row.subject, row.count) == ("provider_down", "openai/gpt-5", 3)

    def test_what_goes_on_is_told_again_after_a_while(self) -> None:
        assert register.claim(DOWN, HOUR)
        Alert.objects.update(sent_at=timezone.now() - timedelta(hours=2))
        assert [register.claim(DOWN, HOUR) for _ in range(2)] == [True, False]

    def test_what_is_told_once_is_not(self) -> None:
        once = DOWN._replace(repeats=False)
        assert register.claim(once, HOUR)
        Alert.objects.update(sent_at=timezone.now() - timedelta(hours=2))
        assert not register.claim(once, HOUR)

    def test_its_end_is_told_once_and_if_it_began(self) -> None:
        over = DOWN._replace(is_over=True)
        assert not register.claim(over, HOUR)
        register.claim(DOWN, HOUR)
        assert [register.claim(over, HOUR) for _ in range(2)] == [True, False]
        assert Alert.objects.get().resolved_at is not None
        assert register.claim(DOWN, HOUR), "it comes back"
        assert Alert.objects.count() == 2


# By which way.


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def test_a_webhook_is_signed_as_standard_webhooks_says(receiver: Receiver) -> None:
    secret = b"0123456789abcdef01234567"
    Webhook(receiver.url, f"whsec_{base64.b64encode(secret).decode()}").deliver(LETTER)
    ((headers, body),) = receiver.requests
    signed = f"msg_1.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (headers["webhook-id"], headers["content-type"]) == ("msg_1", "application/json")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < PATIENCE
    assert json.loads(body) == {
        "type": "ai_gateway.provider_down",
        "timestamp": "2023-11-14T22:13:20Z",
        "data": {"subject": DOWN.subject, "text": DOWN.text, "state": "open", "provider": "openai"},
    }


def test_the_vector_of_standard_webhooks() -> None:
    """From its specification's reference implementations."""
    from_them = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    key = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    id, at, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    assert signature(key, id, at, body) == from_them


@pytest.mark.parametrize(("status", "may_help"), [(302, False), (400, False), (500, True), (429, True)])
def test_what_a_webhook_does_not_take(receiver: Receiver, status: int, may_help: bool) -> None:
    receiver.statuses = [status]
    with pytest.raises(Undelivered, match=str(status)) as raised:
        Webhook(receiver.url).deliver(LETTER)
    assert raised.value.may_help is may_help
    assert len(receiver.requests) == 1, "no redirect is followed"


def test_a_webhook_that_is_not_there_tells_nothing_of_its_address() -> None:
    hook = Webhook("http://127.0.0.1:9/hook?token=t")
    with pytest.raises(Undelivered) as raised:
        hook.deliver(LETTER)
    assert "token" not in f"{raised.value} {hook.name}"


def test_a_webhook_whose_secret_is_not_there_sends_nothing(receiver: Receiver) -> None:
    for secret in ("env:NOBODY_SET_THIS", "file:/nowhere", "whsec_no base64"):
        with pytest.raises(Undelivered):
            Webhook(receiver.url, secret).deliver(LETTER)
    assert not receiver.requests


def test_an_email() -> None:
    Email(["ops@example.com"]).deliver(LETTER)
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["ops@example.com"], f"[AI gateway] {DOWN.text}")
    assert "provider: openai" in message.body


def mail_server(port: int) -> Any:
    """Send mail by SMTP to a port of this machine, in the words of this version of Django."""
    backend = "django.core.mail.backends.smtp.EmailBackend"
    if hasattr(mail, "mailers"):
        mailer = {"BACKEND": backend, "OPTIONS": {"host": "127.0.0.1", "port": port}}
        return override_settings(MAILERS={"default": mailer})
    return override_settings(EMAIL_BACKEND=backend, EMAIL_HOST="127.0.0.1", EMAIL_PORT=port)


def test_a_mail_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_gateway.alerts.email.TIMEOUT", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        mail_server(silent.getsockname()[1]),
        pytest.raises(Undelivered, match="timed out") as raised,
    ):
        Email(["ops@example.com"]).deliver(LETTER)
    assert raised.value.may_help


@pytest.mark.skipif(not hasattr(mail, "mailers"), reason="Django has mailers from 6.1 on")
def test_a_site_without_a_default_mailer_is_told_so_once() -> None:
    with override_settings(MAILERS={}), pytest.raises(Undelivered, match="'default' is not configured") as raised:
        Email(["ops@example.com"]).deliver(LETTER)
    assert not raised.value.may_help


# The desk.


class Scripted(Channel):
    """A channel that fails as often as it is told to."""

    name = "scripted"

    def __init__(self, *failures: Undelivered) -> None:
        self.failures = list(failures)
        self.letters: list[Letter] = []

    def deliver(self, letter: Letter) -> None:
        self.letters.append(letter)
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site without a database, and no pauses."""
    monkeypatch.setattr(desks, "has_database", lambda: False)
    monkeypatch.setattr(desks, "PAUSE", 0.001)


@pytest.mark.usefixtures("alone")
class TestDesk:
    def test_a_letter_is_tried_again_a_few_times_with_the_same_id(self) -> None:
        channel = Scripted(Undelivered("no"), Undelivered("no"))
        assert desks.send([channel], DOWN) == []
        assert (len(channel.letters), len({letter.id for letter in channel.letters})) == (3, 1)

    def test_one_channel_that_fails_keeps_nothing_from_another(self) -> None:
        failing, good = Scripted(*[Undelivered("no")] * 9), Scripted()
        assert desks.send([failing, good], DOWN) == ["scripted: no"]
        assert (len(failing.letters), len(good.letters)) == (desks.ATTEMPTS, 1)

    def test_what_cannot_help_is_not_repeated(self) -> None:
        channel = Scripted(Undelivered("no", may_help=False))
        assert desks.send([channel], DOWN) == ["scripted: no"]
        assert len(channel.letters) == 1

    def test_who_tells_does_not_wait_for_a_channel_that_hangs(self) -> None:
        hangs = threading.Event()

        class Hanging(Scripted):
            def deliver(self, letter: Letter) -> None:
                super().deliver(letter)
                hangs.wait(PATIENCE)

        channel = Hanging()
        desk = Desk([channel], HOUR, tuple)
        began = time.monotonic()
        for number in range(desks.MOST_WAITING + 50):
            desk.tell(DOWN._replace(subject=str(number)))
        assert time.monotonic() - began < PATIENCE / 2
        until(lambda: len(channel.letters) == 1)
        hangs.set()
        desk.stop()

    def test_the_same_is_looked_at_once_in_a_while_and_its_end_at_once(self) -> None:
        channel = Scripted()
        desk = Desk([channel], HOUR, tuple)
        for news in (DOWN, DOWN, DOWN._replace(is_over=True), DOWN):
            desk.tell(news)
        until(lambda: len(channel.letters) == 3)
        desk.stop()
        assert [letter.news.is_over for letter in channel.letters] == [False, True, False]

    def test_without_a_database_nothing_is_over_that_was_not_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        channel = Scripted()
        desk = Desk([channel], HOUR, tuple)
        monkeypatch.setattr(desks, "LULL", 0.0)
        over = DOWN._replace(is_over=True)
        for news in (over, over, DOWN, DOWN, over, over, DOWN._replace(subject="last")):
            desk.tell(news)
        until(lambda: any(letter.news.subject == "last" for letter in channel.letters))
        desk.stop()
        assert [letter.news.is_over for letter in channel.letters] == [False, True, False]

    def test_a_database_that_cannot_say_makes_no_more_news(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> bool:
            raise OperationalError("no such table")

        monkeypatch.setattr(desks, "has_database", lambda: True)
        monkeypatch.setattr(register, "note_problem", fail)
        monkeypatch.setattr(desks, "LULL", 0.0)
        channel = Scripted()
        desk = Desk([channel], HOUR, tuple)
        monkeypatch.setattr(register, "claim", lambda *_: True)
        for news in (DOWN, DOWN._replace(subject="last")):
            desk.tell(news)
        until(lambda: len(channel.letters) == 2)
        monkeypatch.setattr(register, "claim", fail)
        for news in (DOWN, DOWN._replace(is_over=True), DOWN._replace(subject="fine", is_over=True), DOWN):
            desk.tell(news)
        until(lambda: len(channel.letters) == 4)
        desk.stop()
        assert [(letter.news.subject, letter.news.is_over) for letter in channel.letters[2:]] == [
            (DOWN.subject, True),
            (DOWN.subject, False),
        ]

    def test_a_bug_in_one_channel_keeps_nothing_from_another(self) -> None:
        class Broken(Scripted):
            def deliver(self, letter: Letter) -> None:
                raise ValueError("a bug")

        good = Scripted()
        assert desks.send([Broken(), good], DOWN) == ["scripted: ValueError"]
        assert len(good.letters) == 1

    def test_the_clock_brings_news_too_and_a_bug_ends_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        def look() -> list[News]:
            raise RuntimeError("a bug")

        channel = Scripted()
        desk = Desk([channel], HOUR, look, first=0.0)
        desk.start()
        until(lambda: "An alert failed" in caplog.text)
        desk.tell(DOWN)
        until(lambda: len(channel.letters) == 1)
        desk.stop()
        looked = Scripted()
        desk = Desk([looked], HOUR, lambda: [DOWN], first=0.0)
        desk.start()
        until(lambda: len(looked.letters) == 1)
        desk.stop()

    def test_a_connection_that_cannot_be_closed_ends_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(daemons, "PAUSE", 0.001)
        channel = Scripted()
        closed: list[None] = []

        def close_all() -> None:
            closed.append(None)
            raise OSError("it cannot be closed")

        monkeypatch.setattr(desks, "connections", SimpleNamespace(close_all=close_all))
        desk = Desk([channel], HOUR, tuple)
        desk.tell(DOWN)
        until(lambda: closed)
        desk.tell(DOWN._replace(subject="another"))
        until(lambda: len(channel.letters) == 2)
        desk.stop()

    def test_what_is_told_while_no_thread_can_be_started_waits_for_one(self) -> None:
        channel = Scripted()
        desk = Desk([channel], HOUR, tuple)
        with none_can_start():
            desk.tell(DOWN)
        desk.tell(DOWN._replace(subject="another"))
        until(lambda: len(channel.letters) == 2)
        desk.stop()


# What is found out.


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[News]]:
    found: list[News] = []
    sources.connect(alerts.KINDS, found.append)
    yield found
    sources.connect((), found.append)


def limit(window: str = "month", scope: str = "key") -> LimitRule:
    return LimitRule(id="1", name="budget", scope=scope, measure="cost", window=window, amount=20 * 10**9)


def test_a_budget_is_told_of_when_it_is_nearly_and_when_it_is_used_up(told: list[News]) -> None:
    caller = Caller(key_name="laptop")
    limit_warning.send(LimitRule, rule=limit(), used=16 * 10**9, caller=caller)
    limit_reached.send(LimitRule, rule=limit(), caller=caller)
    limit_reached.send(LimitRule, rule=limit("minute"), caller=caller)
    limit_reached.send(LimitRule, rule=limit(scope="everyone"), caller=caller)
    assert [news.text for news in told] == [
        "The limit budget of laptop is nearly used up.",
        "The limit budget of laptop is used up.",
        "The limit budget is used up.",
    ]
    assert told[0].details["used"].startswith("$16")
    assert len({news.subject for news in told}) == 3


def test_a_provider_is_told_of_when_it_is_down_and_when_it_is_up(told: list[News]) -> None:
    for signal in (breaker_opened, breaker_closed):
        sources.on_breaker(signal, Target("openai", "gpt-5"), reason="503")
    assert [(news.kind, news.subject, news.is_over) for news in told] == [
        ("provider_down", "openai/gpt-5", False),
        ("provider_down", "openai/gpt-5", True),
    ]


def entry(**columns: Any) -> Entry:
    given = {"outcome": "answered", "status": 200, "provider": "openai", "served_model": "m", "attempts": 1}
    return Entry(**{"id": "0" * 32, "request_id": "r", "started_at": 0.0, "cost_nanos": 1, **given, **columns})


def test_a_provider_that_begins_to_fail_is_told_of(told: list[News]) -> None:
    for _ in range(LEAST_CALLS):
        call_finished.send(Entry, entry=entry(outcome="failed", status=502))
    assert [(news.kind, news.subject) for news in told] == [("error_rate", "openai")]
    assert told[0].text.startswith("100% of the calls of openai fail")


def test_what_callers_do_is_no_error_of_a_provider(told: list[News]) -> None:
    for outcome in ("disconnected", "refused", "limited", "cancelled", "stopped"):
        for _ in range(LEAST_CALLS):
            call_finished.send(Entry, entry=entry(outcome=outcome, status=499))
    assert not [news for news in told if not news.is_over]


def test_a_model_without_a_price_is_told_of(told: list[News]) -> None:
    call_finished.send(Entry, entry=entry(cost_nanos=None))
    call_finished.send(Entry, entry=entry(cost_nanos=None, status=500, outcome="failed"))
    call_finished.send(Entry, entry=entry())
    assert [(news.kind, news.subject) for news in told] == [("unknown_price", "openai/m")]


@pytest.mark.django_db
@pytest.mark.usefixtures("encryption_key")
def test_keys_that_expire_soon_are_found() -> None:
    ann, now = make_user("ann"), timezone.now()
    make_key(ann, name="soon", expires_at=now + timedelta(days=3))
    make_key(ann, name="later", expires_at=now + timedelta(days=30))
    make_key(ann, name="gone", expires_at=now - timedelta(days=1))
    make_key(ann, name="revoked", expires_at=now + timedelta(days=3), is_active=False)
    (news,) = sources.expiring_keys()
    assert (news.details["key"], news.details["user"], news.repeats) == ("soon", "ann", False)


# All of it.


def receivers() -> list[int]:
    signals = (call_finished, limit_warning, limit_reached, breaker_opened, breaker_closed)
    return [len(signal.receivers) for signal in signals]


def test_nothing_listens_if_nobody_is_to_be_told() -> None:
    before = receivers()
    with override_settings(AI_GATEWAY={"ALERTS": {"email": ["ops@example.com"], "events": ["unknown_price"]}}):
        assert [now - then for now, then in zip(receivers(), before, strict=True)] == [1, 0, 0, 0, 0]
    assert receivers() == before


@pytest.mark.usefixtures("alone")
def test_from_a_signal_to_a_webhook(receiver: Receiver) -> None:
    with override_settings(AI_GATEWAY={"ALERTS": {"webhooks": [{"url": receiver.url, "secret": "s"}]}}):
        call_finished.send(Entry, entry=entry(cost_nanos=None))
        until(lambda: len(receiver.requests) == 1)
    assert json.loads(receiver.requests[0][1])["data"]["model"] == "m"


def test_the_command_tells_whether_alerts_arrive(receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="Nobody is to be alerted"):
        call_command("gateway_alerts", "--test")
    with override_settings(AI_GATEWAY={"ALERTS": {"webhooks": [{"url": receiver.url}], "email": ["a@example.com"]}}):
        call_command("gateway_alerts", "--test")
        assert "e-mail, webhook at 127.0.0.1" in capsys.readouterr().out
        receiver.statuses = [500]
        with pytest.raises(CommandError, match="500"):
            call_command("gateway_alerts", "--test")


@pytest.mark.django_db
def test_the_command_lists_what_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("gateway_alerts")
    assert "Nothing to tell" in capsys.readouterr().out
    register.claim(DOWN, HOUR)
    register.note_problem(DOWN, "e-mail: no")
    call_command("gateway_alerts")
    assert "openai/gpt-5 is not well. NOT DELIVERED: e-mail: no" in capsys.readouterr().out
