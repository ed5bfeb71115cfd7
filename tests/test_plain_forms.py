"""How texts read in their plain form, and where each letter of that is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.plain_forms import MOST_MARKS, Places, plain

ODD = (
    "aZ 1.\x00\x1f\n\uff53①ﬁ½Å\u00b4\u0301\u0323\u0327\u200b\u00ad\ufeff\u2060"
    "\ufe0fｶﾞﾊﾟ한\u1112\u1161\u11abﾡￂㅎㅏ\u3164\U0001d42c\U000e0041ﷺقि"
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("secret", "secret"),
        ("今日は", "今日は"),
        ("\uff53\uff45\uff43\uff52\uff45\uff54", "secret"),
        ("s\u200be\u00adcret", "secret"),
        ("ﬁne ½", "fine 1\u20442"),
        ("cafe\u0301", "café"),
        ("cafe\u200b\u0301", "café"),
        ("ｶﾞ", "ガ"),
        ("\x00se\x08c\x1bret\x7f", "secret"),
        ("é\x00\x9b", "é"),
        ("a\tb\nc\rd\x0be\x0cf", "a\tb\nc\rd\x0be\x0cf"),
        ("é\x85a", "é\x85a"),
    ],
)
def test_letters_have_their_plain_form(written: str, expected: str) -> None:
    assert plain(written) == expected


@pytest.mark.parametrize(
    ("written", "word", "where"),
    [
        ("the \uff53\uff45\uff43\uff52\uff45\uff54 is", "secret", "\uff53\uff45\uff43\uff52\uff45\uff54"),
        ("½ sec\u200b\u200bret", "secret", "sec\u200b\u200bret"),
        ("\u200bsecret\u200b!", "secret", "secret\u200b"),
        ("a ﬁne day", "ine", "ﬁne"),  # A letter that is written as part of another takes all of that.
        ("cafe\u0301s", "é", "e\u0301"),
        ("the s\x00ecret is", "secret", "s\x00ecret"),
    ],
)
def test_a_word_of_the_plain_form_is_found_where_it_is_written(written: str, word: str, where: str) -> None:
    start = plain(written).index(word)
    begin, end = Places(written, plain(written)).span(start, start + len(word))
    assert written[begin:end] == where


@given(st.text(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"]), min_size=1), st.data())
def test_what_is_written_there_has_that_plain_form(written: str, data: st.DataObject) -> None:
    form = plain(written)
    if not form:
        return
    start = data.draw(st.integers(0, len(form) - 1))
    end = data.draw(st.integers(start + 1, len(form)))
    begin, stop = Places(written, plain(written)).span(start, end)
    assert 0 <= begin < stop <= len(written)
    assert form[start:end] in plain(written[begin:stop])


def test_where_nothing_certain_can_be_said_it_is_all_of_the_text() -> None:
    places = Places("a \uff53 b", "a s b")
    places._is_certain = False  # As of a script that is newer than what is known here of joining letters.
    assert places.span(2, 3) == (0, 5)


def test_no_letter_has_more_marks_than_any_language_puts_on_one() -> None:
    # To put a page of marks in order would take minutes, in which nothing else goes on.
    above, below = "\u0301" * 200_000, "\u0323" * 200_000
    written = f"se{above}{below}cret {above[:3]} \uff41"
    form = plain(written)
    assert form == "s\u00e9" + "\u0301" * (MOST_MARKS - 1) + "cret \u0301\u0301\u0301 a"
    start = form.index("cret")
    assert Places(written, form).span(start, start + 4) == (written.index("cret"), written.index("cret") + 4)


def test_half_a_pile_of_marks_is_in_order() -> None:
    assert plain("a" + "\u0301" * 10 + "\u0323" * 10) == "\u1ea1" + "\u0323" * 9 + "\u0301" * 10
