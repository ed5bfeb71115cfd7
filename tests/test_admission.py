"""May this call be made? What is asked of the store of limits, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from ai_gateway import admission, limits, registry
from ai_gateway.calls import Call, Target
from ai_gateway.charges import Charges, State, Verdict
from ai_gateway.consumption import Consumption
from ai_gateway.errors import BudgetExceeded, LimitsUnavailable, PriceUnknown, RateLimited, UsageUnknown
from ai_gateway.estimates import TOKENS_OF_A_FILE
from ai_gateway.limits import LimitStore, StoreUnavailable
from ai_gateway.meter import Meter
from ai_gateway.protocols.conversation import TokenUsage
from tests.factories import Recorder, make_call, make_meter, run

BODY = b'{"model": "m", "max_tokens": 50, "messages": "' + b"x" * 30 + b'"}'
PROMPT = -(-len(BODY) // 3)
OPENAI, GROQ = Target("openai", "m"), Target("groq", "m")
PRICES = [{"provider": "openai", "model": "m", "input": 1, "output": 10}]


def limit(name: str, **entry: Any) -> dict[str, Any]:
    return {"name": name, "measure": "requests", "amount": 10, **entry}


TOKENS = limit("tokens", measure="tokens", amount=1000)
MONEY = limit("money", measure="cost", window="month", amount=1)
OF_GROQ = limit("groq", scope="provider", subject="groq")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(admission, "store", lambda: made)
    return made


def admit(
    *entries: dict[str, Any], targets: Sequence[Target] = (OPENAI,), call: Call | None = None, **settings: Any
) -> Meter:
    """Have a call admitted to one target after the other."""
    meter = make_meter(call or make_call(body=BODY, model="m"))
    with override_settings(AI_GATEWAY={"LIMITS": entries, "PRICES": PRICES, **settings}):
        for number, target in enumerate(targets):
            if number and meter.hold is not None:
                meter.hold.leave_target()
            run(admission.admit(meter, target, registry.snapshot()))
    return meter


async def aiter_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body on its way."""
    for piece in pieces:
        yield piece


def amounts(store: Recorder) -> dict[str, int]:
    """What was taken at last, by the name of the limit."""
    return by_name(store.admitted[-1], store.admitted[-1].amounts)


def by_name(charges: Charges, amounts: Sequence[int]) -> dict[str, int]:
    """Amounts by the names of the limits."""
    names = [counter.name.split(":")[1] for counter in charges.counters]
    return dict(zip(names, amounts, strict=True))


def test_a_call_without_limits_asks_nobody(store: Recorder) -> None:
    assert admit().hold is None
    assert store.admitted == []


def test_what_is_reserved_is_the_prompt_and_what_the_caller_allows_for_the_answer(store: Recorder) -> None:
    admit(limit("often"), TOKENS, MONEY)
    assert amounts(store) == {"often": 1, "tokens": PROMPT + 50, "money": PROMPT * 1_000 + 50 * 10_000}


def test_all_limits_are_asked_at_once_and_always_in_the_same_order(store: Recorder) -> None:
    admit(TOKENS, limit("often"), MONEY)
    admit(MONEY, TOKENS, limit("often"))
    first, second = ([counter.name for counter in charges.counters] for charges in store.admitted)
    assert first == second


def test_the_call_names_the_reservation(store: Recorder) -> None:
    meter = admit(limit("often"))
    assert store.admitted[0].call == meter.id


def test_what_was_used_takes_the_place_of_what_was_reserved_once(store: Recorder) -> None:
    meter = admit(limit("often"), TOKENS, MONEY)
    assert meter.hold is not None
    used = Consumption(tokens=TokenUsage(input=7, cache_read=3, output=5, reasoning=2))
    meter.hold.settle(used, 900)
    meter.hold.settle(used, 900)
    ((charges, actual),) = store.settled
    assert charges.call == meter.id
    assert by_name(charges, actual) == {"often": 1, "tokens": 17, "money": 900}


def test_a_call_that_used_nothing_still_was_a_request(store: Recorder) -> None:
    meter = admit(limit("often"), TOKENS, MONEY)
    assert meter.hold is not None
    meter.hold.settle(None, None)
    assert list(store.settled[0][1]) == [0, 1, 0]


def test_the_next_target_is_asked_for_its_own_limits_only(store: Recorder) -> None:
    admit(limit("often"), OF_GROQ, limit("openai", scope="provider", subject="openai"), targets=(GROQ, OPENAI))
    first, second = ([counter.name for counter in charges.counters] for charges in store.admitted)
    assert first == ["settings:groq:requests:provider:groq:minute", "settings:often:requests:everyone:all:minute"]
    assert second == ["settings:openai:requests:provider:openai:minute"]


def test_what_was_taken_for_a_target_that_failed_is_given_back(store: Recorder) -> None:
    meter = admit(limit("often"), OF_GROQ, targets=(GROQ, OPENAI))
    ((charges, actual),) = store.settled
    assert by_name(charges, actual) == {"groq": 0}
    assert meter.hold is not None
    assert [due.rule.name for taken in meter.hold.taken for due, _, _ in taken.each()] == ["often"]


def test_a_refused_call_takes_nothing_and_may_be_admitted_elsewhere(store: Recorder) -> None:
    store.verdicts = [Verdict(False, [], refused=0, retry_after=3.0)]
    with pytest.raises(RateLimited) as caught:
        admit(limit("often"), OF_GROQ, targets=(GROQ,))
    assert caught.value.is_of_target
    assert caught.value.retry_after == 3.0
    store.verdicts = [Verdict(False, [], refused=1, retry_after=3.0)]
    with pytest.raises(RateLimited) as caught:
        admit(limit("often"), OF_GROQ, targets=(GROQ,))
    assert not caught.value.is_of_target


def test_a_budget_is_another_error_than_a_rate(store: Recorder) -> None:
    store.verdicts = [Verdict(False, [], refused=0, retry_after=None)]
    with pytest.raises(BudgetExceeded, match=r"'money' of \$1.00 a month"):
        admit(MONEY)


def test_a_store_that_does_not_answer_is_an_error_of_the_gateway(store: Recorder) -> None:
    store.verdicts = [StoreUnavailable("gone")]
    with pytest.raises(LimitsUnavailable):
        admit(limit("often"))


# Models without a price.


def test_a_budget_cannot_be_kept_without_a_price(store: Recorder) -> None:
    with pytest.raises(PriceUnknown, match="groq/m"):
        admit(MONEY, targets=(GROQ,))
    assert store.admitted == []


def test_a_site_may_let_it_pass_as_nothing(store: Recorder) -> None:
    admit(MONEY, targets=(GROQ,), REQUIRE_PRICE="never")
    assert amounts(store) == {"money": 0}


def test_a_site_may_want_a_price_for_every_call(store: Recorder) -> None:
    with pytest.raises(PriceUnknown):
        admit(targets=(GROQ,), REQUIRE_PRICE="always")
    admit(targets=(OPENAI,), REQUIRE_PRICE="always")


def test_a_call_that_no_budget_is_for_needs_no_price(store: Recorder) -> None:
    admit(limit("often"), targets=(GROQ,))
    assert amounts(store) == {"often": 1}


NAMELESS = [
    make_call("/v1/audio/transcriptions", method="POST", body=b"--x--"),
    make_call("/v1/images/generations", body=b'{"prompt": "a cat"}'),
    make_call("/v1/responses", body=b'{"prompt": {"id": "pmpt_1"}}'),
]


@pytest.mark.parametrize("call", NAMELESS, ids=["upload", "image", "stored prompt"])
def test_a_budget_cannot_be_kept_for_work_that_names_no_model(store: Recorder, call: Call) -> None:
    with pytest.raises(PriceUnknown, match="names no model"):
        admit(MONEY, targets=(Target("openai", None),), call=call)
    admit(MONEY, targets=(Target("openai", None),), call=call, REQUIRE_PRICE="never")


def test_what_is_only_kept_or_asked_for_needs_no_price(store: Recorder) -> None:
    for path, method in (("/v1/files", "POST"), ("/v1/responses/resp_1", "GET"), ("/v1/models", "GET")):
        admit(MONEY, targets=(Target("openai", None),), call=make_call(path, method=method, body=b"{}"))
    assert amounts(store) == {"money": 0}


def test_what_is_paid_by_the_piece_reserves_one(store: Recorder) -> None:
    prices = [{"model": "m", "units": {"images": "0.04", "audio_seconds": "0.0001"}}]
    call = make_call("/v1/images/generations", body=b'{"model": "m"}', model="m")
    admit(MONEY, call=call, PRICES=prices)
    assert amounts(store) == {"money": 40_100_000}


def test_an_upload_reserves_the_tokens_of_a_file(store: Recorder) -> None:
    call = make_call("/v1/audio/transcriptions", body=b"", model="m")
    call = msgspec.structs.replace(call, body=aiter_of(b"--x--"))
    admit(TOKENS | {"amount": 10**6}, MONEY, call=call)
    assert amounts(store) == {"tokens": TOKENS_OF_A_FILE, "money": TOKENS_OF_A_FILE * 1000}


# What no answer will tell.

BACKGROUND = make_call("/v1/responses", body=b'{"model": "m", "background": true}', model="m")
BATCH = make_call("/v1/batches", body=b"{}")
LATER = pytest.mark.parametrize("call", [BACKGROUND, BATCH], ids=["background", "batch"])


@LATER
@pytest.mark.parametrize("entry", [TOKENS, MONEY], ids=["tokens", "money"])
def test_what_no_answer_will_tell_passes_no_limit_that_has_to_count_it(
    store: Recorder, call: Call, entry: dict[str, Any]
) -> None:
    with pytest.raises(UsageUnknown, match=entry["name"]) as caught:
        admit(entry, call=call)
    assert "UNCOUNTED_WORK" in str(caught.value)
    assert store.admitted == []


@LATER
def test_it_passes_where_only_requests_are_counted_or_a_limit_only_warns(store: Recorder, call: Call) -> None:
    admit(limit("often"), {**TOKENS, "is_soft": True}, call=call)
    assert amounts(store)["often"] == 1


@LATER
def test_a_site_may_let_it_pass_uncounted(store: Recorder, call: Call) -> None:
    admit(TOKENS, call=call, UNCOUNTED_WORK=True)
    assert store.admitted


# What an answer tells, but in a form that nobody here can read.

GOOGLE = "/v1beta/models/m:generateContent"
CONTENTS = b'{"contents": [{"parts": [{"text": "hi"}]}]}'
ILLEGIBLE = [
    make_call(GOOGLE, query=b"alt=proto", body=CONTENTS, model="m"),
    make_call(GOOGLE, query=b"%24Alt=%70roto", body=CONTENTS, model="m"),
    make_call(GOOGLE, query=b"alt=media", body=CONTENTS, model="m"),
    make_call(GOOGLE, query=b"alt=json&$callback=f", body=CONTENTS, model="m"),
    make_call(GOOGLE, query=b"fields=candidates.content", body=CONTENTS, model="m"),
    make_call(GOOGLE, (b"x-goog-fieldmask", b"candidates"), body=CONTENTS, model="m"),
    make_call(GOOGLE, (b"accept", b"application/X-Protobuf"), body=CONTENTS, model="m"),
    make_call(GOOGLE, (b"content-type", b"application/json+protobuf"), body=CONTENTS, model="m"),
    make_call("/v1beta/models/m:embedContent", query=b"alt=proto", body=b"{}", model="m"),
    make_call("/v1/chat/completions", query=b"$alt=proto", body=BODY, model="m"),
]
LEGIBLE = [
    make_call(GOOGLE, query=b"alt=sse", body=CONTENTS, model="m"),
    make_call(GOOGLE, query=b"$alt=json;enum-encoding=int&prettyPrint=false", body=CONTENTS, model="m"),
    make_call(GOOGLE, query=b"fields=", body=CONTENTS, model="m"),
    make_call(GOOGLE, (b"accept", b"*/*"), (b"content-type", b"application/json"), body=CONTENTS, model="m"),
]


@pytest.mark.parametrize("call", ILLEGIBLE)
@pytest.mark.parametrize("entry", [TOKENS, MONEY], ids=["tokens", "money"])
def test_an_answer_that_nobody_here_can_read_passes_no_limit_that_has_to_count_it(
    store: Recorder, call: Call, entry: dict[str, Any]
) -> None:
    with pytest.raises(UsageUnknown, match="JSON") as caught:
        admit(entry, call=call)
    assert entry["name"] in str(caught.value)
    assert store.admitted == []


@pytest.mark.parametrize("call", ILLEGIBLE)
def test_it_is_estimated_where_nothing_has_to_count_it_or_a_site_lets_it(store: Recorder, call: Call) -> None:
    admit(limit("often"), {**TOKENS, "is_soft": True}, call=call)
    admit(TOKENS, call=call, UNCOUNTED_WORK=True)
    assert len(store.admitted) == 2


@pytest.mark.parametrize("call", LEGIBLE)
def test_the_usual_forms_of_an_answer_pass(store: Recorder, call: Call) -> None:
    admit(TOKENS, MONEY, call=call)
    assert store.admitted


def test_what_uses_nothing_may_be_told_in_any_form(store: Recorder) -> None:
    admit(TOKENS, call=make_call("/v1beta/models/m:countTokens", query=b"alt=proto", body=CONTENTS, model="m"))
    admit(TOKENS, call=make_call("/v1/files/f/content", method="GET", query=b"alt=media", body=b"", model="m"))
    assert len(store.admitted) == 2


def test_a_limit_that_only_warns_admits_everything(store: Recorder) -> None:
    store.verdicts = [Verdict(True, [State(12, 0, 1.0)])]
    meter = admit(limit("often", is_soft=True))
    assert meter.hold is not None
    assert [rule.name for rule, _ in meter.hold.warnings] == ["often"]


def test_the_store_is_the_one_of_the_settings() -> None:
    with override_settings(AI_GATEWAY={"LIMIT_STORE": {"BACKEND": "tests.test_admission.Recorder"}}):
        assert isinstance(limits.store(), LimitStore)
