"""The playground's views: a person asks a model, and sees the answer come and how it came about.

A call is made in this process as the user, by the way of all calls: the limits of the user hold, and the usage record
names the user. What the page sends is a `Prompt`; what it gets is one line of JSON after another, because a page wants
to know more than the answer: the request as it was sent, the head of the reply, its bytes as they came and what they
mean, and how it ended. The call is begun by whoever reads the lines, and ends with the reading: nothing goes on that
nobody looks at. No conversation is kept here; it is the page's.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.translation import gettext as translate
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_GET, require_POST

from ai_gateway import gateway, inprocess, key_store, prompts, registry, sample_code, snippets
from ai_gateway.calls import Caller, Headers, Reply
from ai_gateway.errors import BadRequest, GatewayError
from ai_gateway.explanation import Explanation, explain
from ai_gateway.hearing import Hearing
from ai_gateway.models import UsageRecord
from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.money import exact, rounded
from ai_gateway.prompts import Prompt, Written
from ai_gateway.registry import Snapshot
from ai_gateway.responses import EventStreamResponse
from ai_gateway.transports import Transport
from ai_gateway.trial import error_message
from ai_gateway.views import close_connections

Admits = Callable[[HttpRequest], bool]
"""Whether somebody may use the pages that the views belong to."""

PERMISSION = "ai_gateway.use_playground"

LONGEST_PROMPT = 16 * 1024 * 1024
"""Bytes of a prompt, images included; fewer where MAX_BODY_BYTES is less."""

LONGEST_RAW = 1024 * 1024
"""Characters of an answer as it came that are shown. What it says is told to its end."""

MOST_MODELS = 3000
"""Models that are listed."""

CONTENT_TYPE = "application/x-ndjson"


def may_use(user: Any) -> bool:
    """Whether a user may use the playground."""
    return bool(user.is_active and hasattr(user, "has_perm") and user.has_perm(PERMISSION))


def views(admits: Admits) -> list[URLPattern]:
    """Give the views that the page asks, for those who are admitted."""

    def checked(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        def guarded(request: HttpRequest, **given: Any) -> HttpResponse:
            return view(request, **given) if admits(request) else turned_away()

        return never_cache(csrf_protect(guarded))

    @non_atomic_requests
    @never_cache
    @csrf_protect
    async def streaming(request: HttpRequest) -> HttpResponseBase:
        return await answer(request, admits)

    return [
        path("answer/", streaming, name="ai_gateway_playground_answer"),
        path("code/", checked(require_POST(code)), name="ai_gateway_playground_code"),
        path("models/", checked(require_GET(models)), name="ai_gateway_playground_models"),
        path("calls/<str:request_id>/", checked(require_GET(call)), name="ai_gateway_playground_call"),
    ]


def turned_away() -> HttpResponse:
    """Answer somebody who is not admitted, or not any more."""
    message = translate("You may not use the playground, or are logged out.")
    return JsonResponse({"problem": {"title": translate("Not permitted"), "message": message}}, status=403)


# A call, and its answer line by line.


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A call that is ready to be made."""

    caller: Caller
    written: Written
    snapshot: Snapshot
    is_explained: bool
    """Whether the user may know what the decisions rest on."""

    def explain(self) -> Explanation:
        """Tell where it goes, and why."""
        written = self.written
        return explain(
            written.model,
            self.caller,
            self.snapshot,
            path=written.path,
            headers=described(written),
            body=written.content,
        )


def described(written: Written) -> Headers:
    """Give the headers of a request, with those that say that it has a body."""
    length = b"%d" % len(written.content)
    return [*written.headers, (b"content-type", b"application/json"), (b"content-length", length)]


async def answer(request: HttpRequest, admits: Admits) -> HttpResponseBase:
    """Make a call, and stream what comes of it."""
    asking = await sync_to_async(_prepared)(request, admits)
    if isinstance(asking, HttpResponse):
        return asking
    if not isinstance(request, ASGIRequest):
        return HttpResponse(await _at_once(asking), content_type=CONTENT_TYPE)
    # The thread's database connections can go back now: the answer may take minutes.
    await sync_to_async(close_connections)()
    request.META.pop("HTTP_ACCEPT_ENCODING", None)  # Compressed, it would come in blocks.
    response = EventStreamResponse(lines(asking), status=200)
    response.headers["Content-Type"] = CONTENT_TYPE
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _prepared(request: HttpRequest, admits: Admits) -> Asking | HttpResponse:
    """Do all that needs the database, and read the prompt."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    if not admits(request):
        return turned_away()
    try:
        return asking_for(read_prompt(request), request.user)
    except GatewayError as error:
        return HttpResponse(line(problem=problem_of(error)), content_type=CONTENT_TYPE)


def asking_for(prompt: Prompt, user: Any) -> Asking:
    """Make a prompt ready to be asked by a user. Raises BadRequest."""
    snapshot = registry.snapshot()
    return Asking(
        caller=key_store.caller_of(user),
        written=prompts.write(prompt, snapshot),
        snapshot=snapshot,
        is_explained=user.has_perm("ai_gateway.view_route"),
    )


def read_prompt(request: HttpRequest) -> Prompt:
    """Read the prompt that the page sent. Raises BadRequest."""
    limit = min(LONGEST_PROMPT, registry.snapshot().max_body_bytes)
    # Not request.body: that is bound by DATA_UPLOAD_MAX_MEMORY_SIZE, which is meant for forms.
    document = request.read(limit + 1)
    if len(document) > limit:
        raise BadRequest(translate("The prompt is longer than %(size)d bytes.") % {"size": limit}, param="messages")
    return prompts.read(document)


def line(**content: Any) -> bytes:
    """Write one line for the page."""
    return msgspec.json.encode(content) + b"\n"


async def lines(asking: Asking, transport: Transport | None = None) -> AsyncGenerator[bytes, None]:
    """Make the call, and tell about it line by line. The call ends with whoever stops reading."""
    written = asking.written
    why = as_explained(asking.explain()) if asking.is_explained else None
    yield line(request=as_sent(written), explanation=why)
    began = perf_counter()
    call = inprocess.reply_to(
        "POST",
        written.path,
        asking.caller,
        written.content,
        written.headers,
        written.query.encode(),
        transport=transport,
    )
    async with call as reply:
        yield line(head=_head(reply), seconds=perf_counter() - began)
        async with aclosing(_told(reply, written.format)) as told:
            async for each in told:
                yield each
    yield line(ended=True, seconds=perf_counter() - began)


async def _told(reply: Reply, format: str) -> AsyncGenerator[bytes, None]:
    """Tell about the body: as it came, and what it says."""
    is_stream = b"event-stream" in dict(reply.headers).get(b"content-type", b"")
    hearing = Hearing(format, is_stream=is_stream) if reply.status == 200 else None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    kept: list[bytes] = []
    shown = 0
    async with aclosing(_pieces(reply)) as pieces:
        async for piece in pieces:
            events = hearing.hear(piece) if hearing is not None else []
            text = decoder.decode(piece)[: LONGEST_RAW - shown]
            shown += len(text)
            if hearing is None and shown < LONGEST_RAW:
                kept.append(piece)
            yield line(raw=text, events=events)
    if hearing is not None:
        yield line(raw="", events=hearing.end())
    else:
        yield line(problem=problem_in(reply.status, b"".join(kept)))


async def _pieces(reply: Reply) -> AsyncGenerator[bytes, None]:
    if isinstance(reply.body, bytes):
        yield reply.body
    else:
        async for piece in reply.body:
            yield piece


async def _at_once(asking: Asking) -> bytes:
    """Make the call, and tell about it when it is over: WSGI streams nothing that is made on an event loop."""
    transport = gateway.new_transport()
    try:
        return b"".join([each async for each in lines(asking, transport)])
    finally:
        await transport.aclose()


def _head(reply: Reply) -> dict[str, Any]:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers]
    return {"status": reply.status, "headers": headers}


def as_sent(written: Written) -> dict[str, Any]:
    """Show a request as it is sent to the gateway."""
    path = written.path + (f"?{written.query}" if written.query else "")
    return {
        "path": path,
        "body": {**written.body, **written.extra},
        "headers": [(name.decode(), value.decode()) for name, value in written.headers],
        "dropped": list(written.dropped),
    }


def as_explained(found: Explanation) -> dict[str, Any]:
    """Show why a call goes where it goes."""
    targets = [
        {"name": f"{each.target.provider}/{each.target.model or ''}", "problem": each.problem} for each in found.targets
    ]
    return {"reason": found.reason, "targets": targets, "error": found.error}


# What went wrong, for people.


def titles() -> dict[str, str]:
    """Say in a few words what the codes of the commonest errors mean."""
    return {
        "insufficient_quota": translate("A budget or a quota is used up"),
        "rate_limit_exceeded": translate("Too many calls at the moment"),
        "price_unknown": translate("Nobody knows what this model costs"),
        "model_not_found": translate("There is no such model for you"),
        "no_suitable_target": translate("The route is not there for such a call"),
        "provider_not_configured": translate("The provider has no credential"),
        "overloaded": translate("Too busy at the moment"),
        "gateway_draining": translate("The gateway is being restarted"),
        "upstream_unreachable": translate("The provider cannot be reached"),
        "upstream_auth_error": translate("The provider refuses its credential"),
        "upstream_timeout": translate("The provider took too long"),
        "upstream_closed": translate("The provider broke off"),
        "deadline_exceeded": translate("It took too long"),
        "limits_unavailable": translate("The limits cannot be checked at the moment"),
    }


def problem_of(error: GatewayError) -> dict[str, Any]:
    """Tell of an error that was found before anything was asked."""
    code = error.code or ""
    fallback = translate("This cannot be sent")
    return {"title": titles().get(code, fallback), "message": error.message, "field": error.param or "", "code": code}


def problem_in(status: int, body: bytes) -> dict[str, Any]:
    """Tell of an error that an answer was, in any format."""
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        document = None
    inner = document[0] if isinstance(document, list) and document else document
    error = inner.get("error") if isinstance(inner, dict) else None
    found = [error.get(name) for name in ("code", "type", "status")] if isinstance(error, dict) else []
    codes = [each for each in found if isinstance(each, str)]
    known = titles()
    title = next((known[each] for each in codes if each in known), translate("It failed"))
    message = error_message(document) or body[:1000].decode("utf-8", "replace")
    return {"title": title, "message": message, "code": codes[0] if codes else str(status), "field": ""}


# What the page asks besides.


def code(request: HttpRequest) -> HttpResponse:
    """Check a prompt, and write its request as code."""
    try:
        written = prompts.write(read_prompt(request), registry.snapshot())
    except GatewayError as error:
        return JsonResponse({"problem": problem_of(error)})
    found = sample_code.for_request(snippets.origin(request), written)
    samples = [{"name": each.name, "title": str(each.title), "text": each.text} for each in found]
    return JsonResponse({"snippets": samples, "dropped": list(written.dropped)})


def models(request: HttpRequest) -> HttpResponse:
    """List the models that the user may ask for, as the gateway itself lists them."""
    found = inprocess.ask("GET", "/v1/models", key_store.caller_of(request.user)).document
    entries = found.get("data") if isinstance(found, dict) else None
    return JsonResponse({"models": [each["id"] for each in (entries or [])[:MOST_MODELS]]})


def call(request: HttpRequest, request_id: str) -> HttpResponse:
    """Tell what one of the user's own calls used and cost. It is written down a moment after its end."""
    mine = UsageRecord.objects.filter(request_id=request_id, user=request.user.pk)
    record = mine.order_by("-started_at").first()
    return JsonResponse({"call": None if record is None else as_recorded(record, request.user)})


def as_recorded(record: UsageRecord, user: Any) -> dict[str, Any]:
    """Show a usage record."""
    meta = UsageRecord._meta
    tokens = [(str(meta.get_field(name).verbose_name), getattr(record, name)) for name in BUCKETS]  # type: ignore[union-attr]
    return {
        "outcome": record.get_outcome_display(),
        "cost": None if record.cost_nanos is None else rounded(record.cost_nanos),
        "cost_exact": None if record.cost_nanos is None else f"${exact(record.cost_nanos)}",
        "tokens": [(name, count) for name, count in tokens if count],
        "is_estimated": record.is_estimated,
        "target": "/".join(filter(None, [record.provider, record.served_model])),
        "route": record.route,
        "attempts": record.attempts,
        "trail": [_attempt(each) for each in record.trail or ()],
        "first_token_ms": record.first_token_ms,
        "duration_ms": record.duration_ms,
        "url": record_url(record, user),
    }


def _attempt(attempt: dict[str, Any]) -> str:
    words = (attempt.get("status"), attempt.get("why") or attempt.get("error"))
    said = " ".join(str(each) for each in words if each)
    if "guardrail" in attempt:
        return f"{attempt['guardrail']} ({attempt['stage']} {attempt['action']}): {attempt['why']}"
    return f"{attempt.get('provider')}/{attempt.get('model')}: {said}"


def record_url(record: UsageRecord, user: Any) -> str:
    """Give the address of a usage record's page, if the user may open it."""
    if not getattr(user, "is_staff", False) or not user.has_perm("ai_gateway.view_usagerecord"):
        return ""
    try:
        return reverse("admin:ai_gateway_usagerecord_change", args=[record.pk])
    except NoReverseMatch:
        return ""
