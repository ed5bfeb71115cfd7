"""JSON bodies: what routing reads of them, what it refuses (T68), and that a new model changes nothing else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway import bodies
from ai_gateway.bodies import Reading, Routing, members_of, moved, read
from ai_gateway.errors import InvalidBody

MEMBER_NAMES = st.text() | st.sampled_from(["model", "stream", "messages", 'a"model', "model\\", "Models"])
TEXTS = st.text() | st.sampled_from(["model", '"model"', '"model": "a"', "a", "\\"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBER_NAMES, inner, max_size=4),
    max_leaves=12,
)
MODELS = st.none() | TEXTS


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A JSON object with a `model` and a `stream` of the right types, somewhere among other members."""
    members = draw(
        st.dictionaries(MEMBER_NAMES.filter(lambda name: name not in ("model", "stream")), VALUES, max_size=5)
    )
    members["model"] = draw(MODELS)
    members["stream"] = draw(st.none() | st.booleans())
    return {name: members[name] for name in draw(st.permutations(list(members)))}


def write(value: Any, escaped: bool, indent: int | None) -> bytes:
    return json.dumps(value, ensure_ascii=escaped, indent=indent).encode()


def read_routing(body: bytes) -> Routing:
    return read(body).members


def reading_of(body: bytes) -> Reading | None:
    """What was read of a body; None if that is one that is refused."""
    with contextlib.suppress(InvalidBody):
        return read(body)
    return None


def replace_model(body: bytes, model: str) -> bytes:
    """Replace it, which comes to the same whether or not the body was read before."""
    changed = bodies.replace_model(body, model)
    assert bodies.replace_model(body, model, reading_of(body)) == changed
    return changed


def ask_usage(body: bytes) -> bytes | None:
    """Ask for it, which comes to the same whether or not the body was read before."""
    asking = bodies.ask_usage(body)
    assert bodies.ask_usage(body, reading_of(body)) == asking
    return asking


def respell(body: bytes) -> bytes:
    """Spell one letter of every key `model` by its number, which leaves the meaning as it is."""
    return body.replace(b'"model":', b'"m\\u006Fdel":')


@given(requests(), st.booleans(), st.none() | st.integers(0, 2), st.booleans())
def test_routing_agrees_with_json_loads(
    request_body: dict[str, Any], escaped: bool, indent: int | None, odd: bool
) -> None:
    body = write(request_body, escaped, indent)
    body = respell(body) if odd else body
    expected = json.loads(body)
    found = read_routing(body)
    assert (found.model, found.stream, found.models) == (expected["model"], expected["stream"], None)


@given(requests(), TEXTS, st.booleans(), st.none() | st.integers(0, 2), st.booleans())
def test_replacing_the_model_changes_nothing_else(
    request_body: dict[str, Any], model: str, escaped: bool, indent: int | None, odd: bool
) -> None:
    body = write(request_body, escaped, indent)
    body = respell(body) if odd else body
    changed = replace_model(body, model)
    assert list(json.loads(changed, object_pairs_hook=tuple)) == [
        (name, model if name == "model" else value) for name, value in json.loads(body, object_pairs_hook=tuple)
    ]


@given(requests(), st.booleans(), st.none() | st.integers(0, 2), st.booleans())
def test_replacing_the_model_leaves_every_byte_around_it(
    request_body: dict[str, Any], escaped: bool, indent: int | None, odd: bool
) -> None:
    body = write(request_body, escaped, indent)
    body = respell(body) if odd else body
    before, after = replace_model(body, "unlikely-name").split(b'"unlikely-name"')
    assert body.startswith(before)
    assert body.endswith(after)
    assert json.loads(body[len(before) : len(body) - len(after)]) == request_body["model"]


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"model":"a"}', b'{"model":"b"}'),
        (b'{ "x" : 1 ,\n"model"\t:\r\n"a" , "y":1.0e5}', b'{ "x" : 1 ,\n"model"\t:\r\n"b" , "y":1.0e5}'),
        (b'{"m\\u006fd\\u0065l":"a","x":{"model":"a"}}', b'{"m\\u006fd\\u0065l":"b","x":{"model":"a"}}'),
        (
            b'{"x":{"model":"a"},"model":"a","y":[{"model":"a"}]}',
            b'{"x":{"model":"a"},"model":"b","y":[{"model":"a"}]}',
        ),
        (b'{"tail \\"model":"a","model":"a"}', b'{"tail \\"model":"a","model":"b"}'),
        (b'{"x":1,"x":2,"y":{"model":0},"model":"a"}', b'{"x":1,"x":2,"y":{"model":0},"model":"b"}'),
        (b'{"model":null,"x":{"model":null}}', b'{"model":"b","x":{"model":null}}'),
        (b'{"x":"\\"model\\":\\"a\\"","model":"a"}', b'{"x":"\\"model\\":\\"a\\"","model":"b"}'),
        (b'{"model":"\xc3\xa9","x":"\xc3\xa9"}', b'{"model":"b","x":"\xc3\xa9"}'),
        (
            b'{"x":{"model":"a"},"model":"a","stream_options":{"include_usage":true}}',
            b'{"x":{"model":"a"},"model":"b","stream_options":{"include_usage":true}}',
        ),
    ],
)
def test_replacing_the_model_keeps_every_other_byte(body: bytes, changed: bytes) -> None:
    read_routing(body)
    assert replace_model(body, "b") == changed


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b"{}", b'{"model":"b"}'),
        (b" { \n} ", b' {"model":"b" \n} '),
        (b'{"x":{"model":1}}', b'{"model":"b","x":{"model":1}}'),
    ],
)
def test_a_missing_model_is_put_in_front(body: bytes, changed: bytes) -> None:
    assert replace_model(body, "b") == changed


def test_a_model_name_is_escaped_when_it_is_written() -> None:
    assert json.loads(replace_model(b'{"model":"a"}', 'x"\n\\')) == {"model": 'x"\n\\'}


def test_the_search_for_the_outermost_model_is_bounded() -> None:
    inner = b",".join([b'{"model":"a"}'] * (bodies.MOST_KEYS + 1))
    with pytest.raises(InvalidBody) as refused:
        replace_model(b'{"x":[' + inner + b'],"model":"a"}', "b")
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":null,"model":"b"}',
        b'{"model":"a","m\\u006fdel":"b"}',
        b'{"\\u006D\\u006f\\u0064\\u0065\\u006C":"a","model":"b"}',
        b'{"m\\u006fdel":"a","mod\\u0065l":"b"}',
        b'{"model":"a","x":{"model":"c"},"model":"b"}',
    ],
)
def test_a_body_that_names_the_model_twice_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody, match="more than once") as refused:
        read_routing(body)
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","Model":"b"}',
        b'{"MODEL":"b","model":"a"}',
        b'{"model":"a","modEl":{"x":1}}',
        b'{"model":"a","\\u004dodel":null}',
        b'{"Model":"a"}',
    ],
)
def test_a_body_that_names_the_model_with_capitals_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody, match="capital letter") as refused:
        read_routing(body)
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","x":{"Model":"b","MODEL":"c"},"y":"Model","Models":1}',
        b'{"model":"a","x":{"model":"b","model":"c"}}',
        b'{"model":"a","required":["model"],"properties":{"model":{"type":"string"}}}',
        b'{"m\\u006fdel":"a"}',
        b'{"model":"a","text":"\\u006c\\u006f\\u006c"}',
        b'{"model":"a","y":{"model":1},"x":' + b"1" * 5000 + b"}",
    ],
)
def test_inner_members_called_model_are_nobodys_business(body: bytes) -> None:
    assert read_routing(body).model == "a"


def test_a_model_has_a_name_that_can_be_remembered() -> None:
    name = "é" * bodies.MAX_MODEL
    assert read_routing(json.dumps({"model": name}).encode()).model == name
    with pytest.raises(InvalidBody) as refused:
        read_routing(json.dumps({"model": name + "x"}).encode())
    assert refused.value.param == "model"


def nested(depth: int, inner: bytes) -> bytes:
    return b'{"model":"a",' + inner + b'"x":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize("repeats_model", [False, True])
def test_a_body_nested_too_deeply_is_refused(repeats_model: bool) -> None:
    inner = b'"y":{"model":1},' if repeats_model else b""
    # How deep is too deep depends on the interpreter. Around that depth, too, there is an answer or this refusal.
    for depth in range(900, 1100):
        with contextlib.suppress(InvalidBody):
            assert read_routing(nested(depth, inner)).model == "a"
    with pytest.raises(InvalidBody, match="nested too deeply"):
        read_routing(nested(1_000_000, inner))


def test_a_million_keys_are_no_reason_to_refuse() -> None:
    members = b",".join(b'"k%d":1' % number for number in range(1_000_000))
    body = b'{"model":"a","y":{"model":1},' + members + b"}"
    assert read_routing(body).model == "a"
    assert len(replace_model(body, "bc")) == len(body) + 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"model":"a"',
        b'{"model":"a"} {}',
        b"{'model':'a'}",
        b'{"model":NaN}',
        b'{"model":"a","temperature":NaN}',
        b'{"model":"a","temperature":Infinity}',
        b'{"model":"a","n":01}',
        b'{"model":"a","text":"line\nbreak"}',
        b'{"model":"a","text":"\\x41"}',
        b'\xef\xbb\xbf{"model":"a"}',
        b'{"model":"a","text":"\xff"}',
        b'{"model":"a","\xff":1}',
        b'{"model":"a","text":"\xed\xa0\x80"}',
        b'{"model":"a","text":"\\ud800"}',
        b'{"model":"\\ud800"}',
        b'{"model":"a","text":"\\ud800\\u0041"}',
        '{"model":"a"}'.encode("utf-16"),
        b"[]",
        b"null",
        b'"model"',
        b"model=a&stream=true",
    ],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody) as refused:
        read_routing(body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b'{"stream":"true"}', "stream"),
        (b'{"stream":1}', "stream"),
        (b'{"model":1}', "model"),
        (b'{"model":["a"]}', "model"),
        (b'{"model":"a","model":{}}', "model"),
    ],
)
def test_a_member_of_the_wrong_type_is_named(body: bytes, member: str) -> None:
    with pytest.raises(InvalidBody) as refused:
        read_routing(body)
    assert refused.value.param == member


@pytest.mark.parametrize("text", [b"1e999", b"-0.0", b"123456789012345678901234567890", b'"\\ud83d\\ude00"'])
def test_odd_but_valid_values_pass(text: bytes) -> None:
    assert read_routing(b'{"model":"a","x":' + text + b"}").model == "a"


def test_utf8_is_checked_across_the_border_of_two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "UTF8_PIECE", 3)
    for shift in range(4):
        assert read_routing(b'{"model":"' + b"x" * shift + "😀".encode() + b'"}').model == "x" * shift + "😀"
        with pytest.raises(InvalidBody, match="UTF-8"):
            read_routing(b'{"model":"a","x":"' + b"x" * shift + "😀".encode()[:3] + b'"}')


def test_a_message_never_repeats_the_body() -> None:
    for body in (b'{"model":"a","prompt":"my secret', b'{"stream":"my secret"}', b'{"x":"my secret\xff"}'):
        with pytest.raises(InvalidBody) as refused:
            read_routing(body)
        assert "secret" not in refused.value.message


ASKED = b'{"include_usage":true}'


@pytest.mark.parametrize(
    ("body", "asking"),
    [
        (b"{}", b'{"stream_options":%b}' % ASKED),
        (b' {"a": 1}', b' {"stream_options":%b,"a": 1}' % ASKED),
        (b'{"a":"stream_options"}', b'{"stream_options":%b,"a":"stream_options"}' % ASKED),
        (b'{"stream_options": null, "a": 1}', b'{"stream_options": %b, "a": 1}' % ASKED),
        (b'{"stream_options":{}}', b'{"stream_options":%b}' % ASKED),
        (b'{"stream_options":{ "x": 1}}', b'{"stream_options":{"include_usage":true, "x": 1}}'),
        (b'{"stream_options":{"include_usage" : false}}', b'{"stream_options":{"include_usage" : true}}'),
        (b'{"stream_options":{"include_usage":null,"x":1}}', b'{"stream_options":{"include_usage":true,"x":1}}'),
        (
            b'{"stream\\u005Foptions":{"includ\\u0065_usage":false}}',
            b'{"stream\\u005Foptions":{"includ\\u0065_usage":true}}',
        ),
        (b'{"a":"\\u00e9"}', b'{"stream_options":%b,"a":"\\u00e9"}' % ASKED),
        (
            b'{"a":{"stream_options":{"include_usage":false}},"stream_options":{"include_usage":false}}',
            b'{"a":{"stream_options":{"include_usage":false}},"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"stream_options":{"x":{"include_usage":false},"include_usage":false}}',
            b'{"stream_options":{"x":{"include_usage":false},"include_usage":true}}',
        ),
        (b'{"a":{"stream_options":null}}', b'{"stream_options":%b,"a":{"stream_options":null}}' % ASKED),
    ],
)
def test_the_usage_of_a_stream_is_asked_for_and_nothing_else_is_touched(body: bytes, asking: bytes) -> None:
    assert ask_usage(body) == asking


@pytest.mark.parametrize(
    "options",
    [
        b'{"include_usage":true}',
        b'{"include_usage":true,"include_obfuscation":false}',
        b'{"include_usage":1}',
        b'{"include_usage":false,"include_usage":true}',
        b'"none"',
        b"[]",
        b'null,"stream_options":{}',
    ],
)
def test_usage_that_was_asked_for_and_options_that_are_none_stay_as_they_are(options: bytes) -> None:
    assert ask_usage(b'{"stream_options":%b}' % options) is None


def test_a_body_of_nothing_but_options_is_left_alone() -> None:
    inner = b",".join([b'{"stream_options":null}'] * (bodies.MOST_KEYS + 1))
    assert ask_usage(b'{"a":[%b],"stream_options":null}' % inner) is None


OPTIONS = st.none() | st.fixed_dictionaries({}, optional={"include_usage": st.none() | st.booleans(), "x": VALUES})


@given(
    request=requests(), options=OPTIONS, has_options=st.booleans(), escaped=st.booleans(), indent=st.none() | st.just(2)
)
def test_usage_is_asked_for_in_any_body(
    request: dict[str, Any], options: Any, has_options: bool, escaped: bool, indent: int | None
) -> None:
    request.pop("stream_options", None)
    if has_options:
        request["stream_options"] = options
    asking = ask_usage(write(request, escaped, indent))
    if asking is None:
        assert options["include_usage"] is True
        return
    expected = dict(request)
    expected["stream_options"] = {**((options if has_options else None) or {}), "include_usage": True}
    assert json.loads(asking) == expected


@given(request=requests(), model=TEXTS, escaped=st.booleans(), indent=st.none() | st.just(2), odd=st.booleans())
def test_what_was_read_still_holds_behind_the_member_that_asks_for_usage(
    request: dict[str, Any], model: str, escaped: bool, indent: int | None, odd: bool
) -> None:
    request.pop("stream_options", None)
    body = write(request, escaped, indent)
    body = respell(body) if odd else body
    reading, asking = read(body), bodies.ask_usage(body)
    assert asking is not None
    assert bodies.replace_model(asking, model, moved(reading, body, asking)) == bodies.replace_model(asking, model)


def test_what_was_read_of_another_body_is_not_believed() -> None:
    reading = read(b'{"model":"a","max_tokens":1,"background":true,"stream_options":{"include_usage":true}}')
    other = b'{"x":{"model":"a"},"model":"a"}'
    assert bodies.replace_model(other, "b", reading) == b'{"x":{"model":"a"},"model":"b"}'
    assert bodies.ask_usage(other, reading) == b'{"stream_options":%b,"x":{"model":"a"},"model":"a"}' % ASKED
    assert members_of(other, reading) == members_of(other)
    assert moved(reading, other, other) is None


def test_options_that_were_changed_in_their_place_move_nothing() -> None:
    body = b'{"stream_options":{},"model":"a"}'
    asking = ask_usage(body)
    assert asking is not None
    assert moved(read(body), body, asking) is None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"model":', b'{"x":}', b'{"x":' * 100_000])
def test_what_is_no_object_has_no_members(body: bytes) -> None:
    assert members_of(body) is None


@pytest.mark.parametrize("others", [0, 1, bodies.FEW, 2 * bodies.FEW])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_the_only_model_is_found_among_words_that_end_alike(others: int, times: int) -> None:
    words = b",".join([b'"yodel":1'] * others + [b'"model":"a"'] * times)
    body = b'{"x":{%b},"y":"%b"}' % (words, b"-" * bodies.SHORT)
    found = body.find(b'"model"') if times < 2 else None
    assert bodies._only_place(body) == found


def test_a_body_is_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"messages":[],"model":"a","stream":true}'
    reading = read(body)
    for decoder in ("_written", "_found", "_numbered", "_routing"):
        monkeypatch.setattr(bodies, decoder, None)
    asking = bodies.ask_usage(body, reading)
    assert asking is not None
    assert bodies.replace_model(asking, "b", moved(reading, body, asking)).endswith(b'"model":"b","stream":true}')
    assert members_of(body, reading) is reading.members
