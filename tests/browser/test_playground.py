"""A person plays: asks, sees the answer come, compares, stops, goes on with a tool, and copies code."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import LOOKS, PATIENCE, Site
from tests.upstream import End, Exchange, Script, Upstream, event_stream, json_answer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

Shoot = Callable[["Page", str], None]
Open = Callable[..., "Page"]

PATH = "/admin/ai_gateway/playground/"
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'"
)
"""What docs/playground.md says the page can do with."""

PLACES = """
from ai_gateway.models import Price, Provider, ProviderCredential, Route
provider = Provider.objects.create(alias="played", backend="custom", base_url="http://127.0.0.1:{port}/v1")
ProviderCredential.objects.create(provider=provider, name="main", secret="sk-played-0123456789abcdef")
route = Route.objects.create(name="story")
route.targets.create(provider="played", model="model-1")
"""


def chunk(**delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    document = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "model-1"}
    return f"data: {json.dumps({**document, 'choices': [choice]})}\n\n".encode()


END = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model-1",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model-1","choices":[],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}\n\n'
    b"data: [DONE]\n\n"
)
CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Bern"}'},
}


def answer(upstream: Upstream, *scripts: Script) -> None:
    """Answer calls by these scripts, one each and the last one all others. The page asks for a list of models, too."""
    left = deque(scripts)

    async def script(exchange: Exchange) -> None:
        if exchange.request.method == "GET":
            await json_answer({"data": []})(exchange)
        else:
            await (left.popleft() if len(left) > 1 else left[0])(exchange)

    upstream.answer(script)


def asked(upstream: Upstream) -> Any:
    """What the provider was asked last."""
    return [request for request in upstream.requests if request.method == "POST"][-1].json()


@pytest.fixture(scope="module")
def played(site: Site, _upstream: Upstream) -> Site:
    """The site, with a route to the fake provider."""
    site.manage("shell", "--verbosity", "0", "-c", PLACES.format(port=_upstream.port))
    return site


@pytest.fixture(scope="module")
def logged_in(played: Site, browser: Browser) -> Any:
    """What a browser keeps of somebody who is logged in."""
    context = browser.new_context(base_url=played.url)
    page = context.new_page()
    page.goto(f"/accounts/login/?next={PATH}")
    page.get_by_label("Username").fill("boss")
    page.get_by_label("Password").fill("password-of-boss")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{PATH}")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_playground(played: Site, browser: Browser, logged_in: Any) -> Iterator[Open]:
    """Open the page. Whatever it complains of, and whatever it asks another host for, fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_playground(look: str = "light", query: str = "?route=story", **options: Any) -> Page:
        context = browser.new_context(base_url=played.url, storage_state=logged_in, **LOOKS[look], **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: complaints.append(f"{said.text} {said.location}") if said.type == "error" else None
        )
        page.on("request", lambda sent: complaints.append(sent.url) if is_foreign(sent.url, played) else None)
        page.goto(PATH + query)
        return page

    yield open_playground
    for context in contexts:
        context.close()
    assert not [each for each in complaints if "favicon.ico" not in each]


def is_foreign(address: str, site: Site) -> bool:
    return urlsplit(address).netloc not in ("", urlsplit(site.url).netloc)


def say(page: Page, text: str) -> None:
    page.locator(".play-turn [data-text]").last.fill(text)


def answers(page: Page) -> Any:
    return page.locator('[data-panel="answer"] > [data-text]')


def test_ask__the_answer_comes_live_and_says_what_it_cost(
    open_playground: Open, upstream: Upstream, shoot: Shoot
) -> None:
    gate = upstream.gate()
    answer(upstream, event_stream(chunk(content="Once upon"), gate, chunk(content=" a time."), END))
    page = open_playground()
    page.get_by_label("System prompt").fill("You tell stories.")
    say(page, "Tell me one.")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Once upon", exact=True).wait_for()
    page.get_by_text("answering…").wait_for()
    gate.open()
    page.get_by_text("done", exact=True).wait_for()
    assert answers(page).inner_text() == "Once upon a time."
    assert [each["role"] for each in asked(upstream)["messages"]] == ["system", "user"]

    facts = page.locator("[data-facts]")
    # The record is there a moment later, and it is found by whose it is.
    facts.get_by_text("unknown: no price").wait_for()
    for words in ("first token", "played/model-1", "output tokens", "12", "attempts"):
        assert words in facts.inner_text(), facts.inner_text()
    assert re.fullmatch(r".*/admin/ai_gateway/usagerecord/.+/change/", facts.locator("a").get_attribute("href") or "")
    page.get_by_role("tab", name="Why").click()
    page.get_by_text("is a route, whose targets are asked in order").wait_for()
    page.get_by_role("tab", name="Why").press("ArrowRight")
    assert "POST /v1/chat/completions" in page.locator("[data-request]").inner_text()
    page.get_by_role("tab", name="Response").click()
    assert "data: [DONE]" in page.locator("[data-response]").inner_text()
    shoot(page, "playground-response")


def test_what_is_typed_before_the_script_is_there_stays(open_playground: Open) -> None:
    page = open_playground(query="")
    held: list[Route] = []
    page.route("**/lines*.js", lambda route: held.append(route))
    page.goto(PATH, wait_until="commit")
    page.locator("input[name=model]").fill("played/early")
    page.locator("textarea[name=system]").evaluate("field => { field.value = 'Be brief.'; }")
    assert held
    for route in held:
        route.continue_()
    page.locator(".play-turn [data-text]").first.wait_for()
    assert page.locator("input[name=model]").first.input_value() == "played/early"
    assert page.locator("textarea[name=system]").input_value() == "Be brief."


def test_stop__reaches_the_provider(open_playground: Open, upstream: Upstream) -> None:
    answer(upstream, event_stream(chunk(content="Once upon"), End.STALL))
    page = open_playground()
    say(page, "Tell me one.")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Once upon", exact=True).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("stopped", exact=True).wait_for()
    upstream.wait_for("the provider is left", lambda: upstream.aborted == 1 and upstream.busy == 0)
    page.get_by_text("the caller hung up").wait_for()


def test_compare__models_answer_side_by_side_at_once(open_playground: Open, upstream: Upstream, shoot: Shoot) -> None:
    gate = upstream.gate()
    answer(upstream, event_stream(chunk(content="Once"), gate, END))
    page = open_playground()
    say(page, "Good day")
    for name in ("echo/echo-1", "echo/echo-2"):
        page.get_by_role("button", name="Compare with another model").click()
        page.get_by_label("Another model").last.fill(name)
    assert page.get_by_role("button", name="Compare with another model").is_disabled()
    page.get_by_role("button", name="Send").click()
    # The first waits for its provider; the others need not wait for it.
    page.locator(".play-done").nth(1).wait_for()
    assert page.locator(".play-done").count() == 2
    gate.open()
    page.locator(".play-done").nth(2).wait_for()
    assert answers(page).all_inner_texts() == ["Once", "Good day", "Good day"]
    shoot(page, "playground-compare")


def test_tools__a_result_is_typed_and_the_conversation_goes_on(open_playground: Open, upstream: Upstream) -> None:
    answer(upstream, event_stream(chunk(tool_calls=[CALL]), END), event_stream(chunk(content="It rains in Bern."), END))
    page = open_playground()
    say(page, "How is the weather?")
    page.get_by_text("Tools, JSON Schema, and anything else").click()
    tools = page.get_by_label("Tools, a JSON list")
    tools.fill('[{"name": "weather",\n  "parameters": }]')
    page.locator("#play-tools-problem").get_by_text("Line 2, column 17").wait_for()
    tools.fill('[{"name": "weather", "parameters": {"type": "object"}}]')
    page.locator("#play-tools-problem").get_by_text("Line 2").wait_for(state="detached")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Go on with this answer").click()
    assert page.get_by_label("Name of the tool").last.input_value() == "weather"
    say(page, "rain")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("It rains in Bern.", exact=True).wait_for()
    roles = [each["role"] for each in asked(upstream)["messages"]]
    assert roles == ["user", "assistant", "tool"]

    # What was written is there again after a reload, and gone when it is cleared.
    page.goto(PATH)
    assert page.locator(".play-turn").count() == 3
    page.get_by_role("button", name="Start anew").click()
    assert page.locator(".play-turn").count() == 1


def test_errors__are_told_for_people(open_playground: Open, upstream: Upstream, shoot: Shoot) -> None:
    error = {"error": {"message": "Your quota is used up.", "type": "insufficient_quota", "code": "insufficient_quota"}}
    answer(upstream, json_answer(error, 429))
    page = open_playground()
    say(page, "Hello")
    page.get_by_role("button", name="Send").click()
    page.locator("[data-problem]").get_by_text("A budget or a quota is used up").wait_for()
    shoot(page, "playground-error")


def test_messages__are_moved_removed_and_have_images(open_playground: Open, upstream: Upstream, tmp_path: Path) -> None:
    answer(upstream, event_stream(chunk(content="I see."), END))
    image = tmp_path / "a.png"
    image.write_bytes(b"hello")
    page = open_playground()
    say(page, "last")
    page.locator("[data-file]").first.set_input_files(image)
    page.get_by_text("image/png, 1 kB").wait_for()
    for text in ("first", "gone"):
        page.get_by_role("button", name="Add a message").click()
        say(page, text)
    page.locator(".play-turn").nth(1).get_by_label("Role").select_option("assistant")
    page.locator(".play-turn").nth(2).get_by_label("Remove", exact=True).click()
    page.locator(".play-turn").nth(1).get_by_label("Up").click()
    page.get_by_role("button", name="Send").click()
    page.get_by_text("I see.", exact=True).wait_for()
    first, last = asked(upstream)["messages"]
    assert (first["role"], first["content"]) == ("assistant", "first")
    assert [part["type"] for part in last["content"]] == ["image_url", "text"]


def test_copy__as_code(open_playground: Open, played: Site) -> None:
    page = open_playground(query="?model=echo/echo-1")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    say(page, "Hello")
    page.get_by_text("Copy as code").click()
    page.get_by_label("Language").select_option("python")
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert f'base_url="{played.url}/v1", api_key=os.environ["GATEWAY_KEY"]' in copied


def test_page__works_under_the_strictest_policy(open_playground: Open) -> None:
    page = open_playground()
    page.context.route("**/*", with_policy)
    page.goto(f"{PATH}?model=echo/echo-1")
    say(page, "<b>Hello</b>")
    page.get_by_role("button", name="Send").click()
    page.locator(".play-done").wait_for()
    assert answers(page).inner_text() == "<b>Hello</b>"


def with_policy(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": POLICY})


def test_page__works_without_javascript(open_playground: Open) -> None:
    page = open_playground(query="?model=echo/echo-1", java_script_enabled=False)
    page.get_by_label("Message").fill("Hello without a script")
    assert not page.get_by_role("button", name="Compare with another model").is_visible()
    page.get_by_role("button", name="Send").click()
    assert page.locator(".play-answer .play-text").inner_text() == "Hello without a script"


@pytest.mark.parametrize("look", LOOKS)
def test_page__fits_every_screen(look: str, open_playground: Open, upstream: Upstream, shoot: Shoot) -> None:
    story = "A gateway stood at the edge of the town. Whoever came was asked one question: where to?"
    answer(upstream, event_stream(chunk(content=story), 0.3, END))
    page = open_playground(look)
    page.get_by_label("System prompt").fill("You tell short stories.")
    say(page, "Tell me one about a gateway.")
    page.get_by_role("button", name="Compare with another model").click()
    page.get_by_label("Another model").fill("echo/echo-1")
    page.get_by_role("button", name="Send").click()
    page.locator(".play-done").nth(1).wait_for()
    page.get_by_text("unknown: no price").wait_for()
    shoot(page, f"playground-{look}")
