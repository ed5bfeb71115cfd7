"""What arrived, made into a call, or refused."""

from __future__ import annotations

import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.calls import Call
from ai_gateway.errors import BadRequest, BodyTooLarge, GatewayError, InvalidBody, MethodNotAllowed, NotFound
from ai_gateway.intake import check_head, has_body, read_arrival, read_call
from tests.factories import JSON, Body, make_arrival, run

FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.fixture(autouse=True)
def small_limits() -> object:
    with override_settings(AI_GATEWAY={"MAX_BODY_BYTES": 100, "MAX_UPLOAD_BYTES": 1000}):
        yield


def read(*headers: tuple[bytes, bytes], path: str = "/v1/chat/completions", body: bytes = b"") -> Call:
    return run(read_call(make_arrival(path, *headers, body=body), registry.snapshot()))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/models/openai/gpt-4o",
        "/v1beta/models/gemini-3:generateContent",
        "/v1/a.b_c~d:e@f=g,h+i!j$k*l(m)n'o-p",
        "/v1/...",
    ],
)
def test_paths_of_the_api_pass(path: str) -> None:
    check_head(make_arrival(path))


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/../admin",
        "/v1/./x",
        "/v1//evil/x",
        "/v1/https://evil/",
        "/v1/a;x",
        "/v1/\\evil",
        "/v2/x",
        "/v1/a\x00",
        "/v1/a b",
        "/v1/a?b",
        "/v1/a#f",
        "/v1/é",
        "/v1/a/..",
        "/v1x/a",
        "/v1/a\n",
    ],
)
def test_paths_that_need_cleaning_are_refused(path: str) -> None:
    arrival = read_arrival("GET", path, path.encode(), b"", [], Body())
    with pytest.raises(NotFound):
        check_head(arrival)


@pytest.mark.parametrize(
    "raw", [b"/v1/%2e%2e/admin", b"/v1/..%2fx", b"/v1/a%3fb", b"/v1/a%23f", b"/v1/%00", b"/v1/%41"]
)
def test_paths_with_escapes_are_refused(raw: bytes) -> None:
    with pytest.raises(NotFound):
        check_head(read_arrival("GET", "/v1/decoded", raw, b"", [], Body()))


def test_an_escaped_colon_is_a_colon() -> None:
    arrival = read_arrival("POST", "/v1/model/a:0/converse", b"/v1/model/a%3A0/converse", b"", [], Body())
    check_head(arrival)
    assert arrival.path == "/v1/model/a:0/converse"


def test_one_slash_at_the_end_is_forgiven() -> None:
    assert make_arrival("/v1/chat/completions/").path == "/v1/chat/completions"
    assert make_arrival("/v1/chat/completions/").dialect.name == "openai_chat"


@pytest.mark.parametrize("path", ["/v1/v1/messages", "/v1/v1", "/v1beta/v1beta/models/m:generateContent"])
def test_a_doubled_version_is_explained(path: str) -> None:
    with pytest.raises(NotFound, match="base URL") as caught:
        check_head(make_arrival(path))
    assert caught.value.status == 404


@pytest.mark.parametrize("query", [b"a=\x00", b"a= b", b"\xff", b"a" * 20_000])
def test_an_odd_query_is_refused(query: bytes) -> None:
    with pytest.raises(BadRequest):
        check_head(make_arrival(query=query))


@pytest.mark.parametrize("headers", [[(b"x-%d" % n, b"1") for n in range(300)], [(b"x", b"a" * 70_000)]])
def test_a_head_has_bounds(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(BadRequest):
        check_head(make_arrival("/v1/x", *headers))


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", ""])
def test_a_method_that_no_api_has_is_refused(method: str) -> None:
    with pytest.raises(MethodNotAllowed):
        check_head(make_arrival("/v1/x", method=method))


def test_a_length_beside_chunks_is_refused() -> None:
    with pytest.raises(BadRequest, match="in chunks"):
        check_head(make_arrival("/v1/x", (b"transfer-encoding", b"chunked"), (b"content-length", b"5")))


def test_a_caller_may_choose_the_request_id() -> None:
    assert make_arrival("/v1/x", (b"x-request-id", b"job-12345678")).request_id == "job-12345678"


@pytest.mark.parametrize("given", [b"short", b"with space1", b"x" * 200, b"line\r\nbreak", b""])
def test_an_odd_request_id_is_replaced(given: bytes) -> None:
    assert make_arrival("/v1/x", (b"x-request-id", given)).request_id.startswith("req_")


def test_a_json_body_is_read_whole_and_its_routing_members_decoded() -> None:
    call = read(JSON, body=b'{"model": "m", "stream": true}')
    assert (call.model, call.stream, call.body) == ("m", True, b'{"model": "m", "stream": true}')


@pytest.mark.parametrize("content_type", [FORM, (b"content-type", b"text/plain")])
def test_json_under_a_wrong_name_is_taken_for_what_it_is(content_type: tuple[bytes, bytes]) -> None:
    call = read(content_type, body=b'{"model": "m"}')
    assert call.model == "m"
    assert JSON in call.headers
    assert content_type not in call.headers


OTHER_TYPES = [None, b"text/plain", b"application/octet-stream", b"application/x-www-form-urlencoded", b"a/b; x=json"]
JSON_PATHS = ["/v1/chat/completions", "/v1/embeddings", "/v1/images/generations", "/v1beta/models/m:embedContent"]


@pytest.mark.parametrize("content_type", OTHER_TYPES)
@pytest.mark.parametrize("path", JSON_PATHS)
def test_where_only_json_is_taken_it_is_read_whatever_its_type_says(path: str, content_type: bytes | None) -> None:
    """A provider might read it all the same, and no guardrail would have seen it."""
    headers = [] if content_type is None else [(b"content-type", content_type)]
    call = read(*headers, path=path, body=b'{"model": "m"}')
    assert (call.body, JSON in call.headers) == (b'{"model": "m"}', True)
    with pytest.raises(InvalidBody):
        read(*headers, path=path, body=b"--x--")


def test_sound_may_come_as_it_is() -> None:
    call = read((b"content-type", b"audio/mpeg"), path="/v1/audio/transcriptions", body=b"\xff\xfb")
    assert not isinstance(call.body, bytes)


@pytest.mark.parametrize("name", [b"content-type", b"content-encoding", b"x-provider"])
def test_a_header_that_decides_something_is_there_once(name: bytes) -> None:
    with pytest.raises(BadRequest, match=name.decode()):
        check_head(make_arrival("/v1/x", (name, b"a"), (b"accept", b"b"), (name, b"a")))
    check_head(make_arrival("/v1/x", (name, b"a"), (b"accept", b"b"), (b"accept", b"c")))


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("POST", [], True),
        ("POST", [(b"content-length", b"0")], False),
        ("POST", [(b"content-length", b"5")], True),
        ("GET", [], False),
        ("DELETE", [], False),
    ],
)
def test_a_body_whose_length_http_2_does_not_tell_is_one(
    method: str, headers: list[tuple[bytes, bytes]], expected: bool
) -> None:
    for version in ("2", "3"):
        arrival = read_arrival(method, "/v1/files", b"/v1/files", b"", headers, Body(b"x"), version=version)
        assert has_body(arrival.fields) is expected
    assert has_body(read_arrival("POST", "/v1/files", b"/v1/files", b"", [], Body(b"x")).fields) is False


def test_what_a_server_adds_to_the_headers_later_is_none_of_them() -> None:
    headers = [(b"content-type", b"application/json")]
    arrival = read_arrival("POST", "/v1/x", b"/v1/x", b"", headers, Body(b""))
    headers.append((b"content-type", b"text/plain"))
    assert arrival.headers == [(b"content-type", b"application/json")]


def test_any_other_body_is_carried_through_unread() -> None:
    call = read((b"content-type", b"multipart/form-data; boundary=x"), path="/v1/files", body=b"--x--")
    assert not isinstance(call.body, bytes)
    assert call.model is None


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/images/edits"])
def test_a_form_may_name_the_model(path: str) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ngroq/whisper-1\r\n--x--\r\n'
    call = read((b"content-type", b"multipart/form-data; boundary=x"), path=path, body=form)
    assert not isinstance(call.body, bytes)
    assert call.model == "groq/whisper-1"


def test_a_call_for_generation_needs_a_body() -> None:
    with pytest.raises(InvalidBody):
        read(JSON)


@pytest.mark.parametrize(
    ("headers", "path", "size"),
    [([JSON], "/v1/embeddings", 101), ([(b"content-type", b"audio/mpeg")], "/v1/audio/x", 1001)],
)
def test_a_body_that_says_it_is_too_long_is_not_read(headers: list[tuple[bytes, bytes]], path: str, size: int) -> None:
    arrival = make_arrival(path, *headers, body=b"x" * size)
    with pytest.raises(BodyTooLarge):
        run(read_call(arrival, registry.snapshot()))
    assert isinstance(arrival.body, Body)
    assert not arrival.body.was_read


def test_a_body_that_was_lost_over_an_offer_is_not_called_bad_json() -> None:
    """As uvicorn loses it, with httptools."""
    with pytest.raises(BadRequest, match=r"HTTP/1\.1"):
        read(JSON, (b"upgrade", b"h2c"), (b"content-length", b"20"))


def test_bad_json_names_the_member() -> None:
    with pytest.raises(GatewayError) as caught:
        read(JSON, body=b'{"stream": "true"}')
    assert (caught.value.status, caught.value.param) == (400, "stream")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({b"content-length": b"0"}, False),
        ({b"content-length": b"00"}, False),
        ({b"content-length": b"1"}, True),
        ({b"transfer-encoding": b"chunked"}, True),
    ],
)
def test_whether_there_is_a_body_is_told_by_the_framing(fields: dict[bytes, bytes], expected: bool) -> None:
    assert has_body(fields) is expected


def test_a_path_names_no_model_that_is_too_long_to_be_remembered() -> None:
    path = "/v1beta/models/%s:generateContent"
    body = b'{"contents": []}'
    assert read(JSON, path=path % ("m" * 1024), body=body).model == "m" * 1024
    with pytest.raises(BadRequest):
        read(JSON, path=path % ("m" * 1025), body=body)
