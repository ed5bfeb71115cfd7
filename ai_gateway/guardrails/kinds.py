"""Kinds of secrets and of personal data: how each is found, and what tells it from what only looks like it.

What has check digits is checked by them: not every sixteen digits are a credit card.

Agents send megabytes, and every letter of them is looked at for each kind. So every search begins with what is rare in
texts and code (a sign, the first letters of a key, a digit), which Python's `re` goes to in one leap; only there it is
looked at what stands before. An expression that begins with a look behind is tried at every letter, which takes twenty
times as long. And none takes more time than in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import ip_address
from string import ascii_uppercase
from typing import Any, NamedTuple

from ai_gateway.guardrails.search import REACH, Find, Span

_DOUBLED = str.maketrans("0123456789", "0246813579")
"""Twice a digit, and the sum of the digits of that."""

_NUMBERS = {ord(letter): str(int(letter, 36)) for letter in ascii_uppercase}
"""What letters stand for in an IBAN."""


def has_luhn_digit(number: str) -> bool:
    """Whether the last digit is the check digit of the others, as those of credit cards are (ISO/IEC 7812-1)."""
    digits = number.replace(" ", "").replace("-", "")
    if not 13 <= len(digits) <= 19 or not digits.strip("0"):
        return False
    return (sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))) % 10 == 0


def is_iban(written: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616)."""
    letters = written.replace(" ", "").upper()
    return 15 <= len(letters) <= 34 and int((letters[4:] + letters[:4]).translate(_NUMBERS)) % 97 == 1


def is_address(written: str) -> bool:
    """Whether it is an IP address, and not a name of C++: what has two colons only is none of anybody's."""
    try:
        ip_address(written)
    except ValueError:
        return False
    return written.count(":") != 2


def has_enough_digits(written: str) -> bool:
    """Whether a telephone number has as many digits as one has (ITU-T E.164: 15 at most)."""
    return 8 <= sum(each.isdecimal() for each in written) <= 15


class Kind(NamedTuple):
    """How something is found, and what tells it from what only looks like it."""

    find: Find
    is_one: Callable[[str], bool] = bool
    goes_on: bool = False
    """Whether one that is whole in a part of a message may go on in the next: what is left of a secret is one."""
    reach: int | None = REACH

    def spans(self, text: str) -> list[Span]:
        """Find it in a text."""
        return [(start, end) for start, end in self.find(text) if self.is_one(text[start:end])]


def _written_as(expression: str, is_one: Callable[[str], bool] = bool, *, before: int = 0, **others: Any) -> Kind:
    """One that an expression finds, which begins so many letters behind the first of it."""
    pattern = re.compile(expression)
    if before:
        return Kind(
            lambda text: ((hit.start() - before, hit.end()) for hit in pattern.finditer(text)), is_one, **others
        )
    return Kind(lambda text: (hit.span() for hit in pattern.finditer(text)), is_one, **others)


_secret = partial(_written_as, goes_on=True)


def _word(begin: str) -> str:
    """Write how a word begins, in a way that is found in one leap."""
    return f"{begin}(?<![A-Za-z0-9]{begin})"


# E-mail.

_MAILBOX = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-"
_LONGEST_MAILBOX = 64
_DOMAIN = re.compile(r"@(?:[A-Za-z0-9-]{1,63}+\.){1,8}[A-Za-z]{2,24}+")


def _mail_addresses(text: str) -> Iterator[Span]:
    """Find what stands about an at sign."""
    end = 0
    for domain in _DOMAIN.finditer(text):
        at = domain.start()
        start = _start_of(text, at, _MAILBOX, _LONGEST_MAILBOX)
        if end <= start < at:
            end = domain.end()
            yield start, end


# IP addresses.

_HEXADECIMAL = "0123456789abcdefABCDEF"
_FIRST_DOT = re.compile(r"\.(?<=[0-9]\.)[0-9]{1,3}+\.[0-9]{1,3}+\.(?=[0-9])")
_FIRST_COLON = re.compile(r":(?<![:.]:)[0-9A-Fa-f]{0,4}+:[0-9A-Fa-f]{0,4}+:")
"""What is in every address of IPv4 and of IPv6. Of the latter those with two colons only do not count."""

_LONGEST_GROUP = 4
_IPV4 = re.compile(r"(?<![0-9A-Za-z.])[0-9]{1,3}+(?:[.][0-9]{1,3}+){3}(?![0-9A-Za-z])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:]{0,40}+(?:[.][0-9]{1,3}+){0,3}+(?![0-9A-Za-z:])")
"""Before one of IPv4 there may be a colon, and behind it: with the number of a port."""


def _ip_addresses(text: str) -> Iterator[Span]:
    """Find what stands about the first dot, or the first colon, of an address."""
    for first, address in ((_FIRST_DOT, _IPV4), (_FIRST_COLON, _IPV6)):
        for group in first.finditer(text):
            found = address.match(text, _start_of(text, group.start(), _HEXADECIMAL, _LONGEST_GROUP))
            if found is not None:
                yield found.span()


def _start_of(text: str, end: int, letters: str, longest: int) -> int:
    """Tell where some letters begin that end at a place: there if there are none, or more than the longest has."""
    piece = text[max(0, end - longest - 1) : end]
    length = len(piece) - len(piece.rstrip(letters))
    return end - length if length <= longest else end


SECRETS: Mapping[str, Kind] = {
    "PRIVATE_KEY": _secret(
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
        reach=None,
    ),
    "API_KEY": _secret(
        # Each begins with a letter that is written out: a search for one of a few letters is one leap.
        rf"{_word('s')}k(?:-(?:ant-|proj-|or-|svcacct-|admin-)?[A-Za-z0-9_-]{{20,300}}+"  # OpenAI, Anthropic, DeepSeek.
        r"|_(?:live|test)_[A-Za-z0-9]{16,250}+)"  # Stripe, as are rk_ and pk_.
        rf"|{_word('g')}(?:w_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{49}}"  # This gateway.
        r"|h[pousr]_[A-Za-z0-9]{36,255}+|ithub_pat_[A-Za-z0-9_]{22,255}+"
        r"|lpat-[A-Za-z0-9_-]{20,100}+|sk_[A-Za-z0-9]{40,60}+)"  # GitLab, Groq.
        rf"|{_word('A')}(?:Iza[A-Za-z0-9_-]{{35}}|(?:KIA|SIA)[A-Z0-9]{{16}})"  # Google, Amazon.
        rf"|{_word('x')}(?:ox[abeoprs]-[A-Za-z0-9-]{{10,250}}+|ai-[A-Za-z0-9]{{60,120}}+)"  # Slack, xAI.
        rf"|{_word('r')}k_(?:live|test)_[A-Za-z0-9]{{16,250}}+"
        rf"|{_word('p')}(?:k_(?:live|test)_[A-Za-z0-9]{{16,250}}+|plx-[A-Za-z0-9]{{40,60}}+|ypi-[A-Za-z0-9_-]{{50,300}}+)"
        rf"|{_word('h')}f_[A-Za-z0-9]{{30,60}}+|{_word('n')}pm_[A-Za-z0-9]{{36}}"
        rf"|{_word('S')}G\.[A-Za-z0-9_-]{{22}}\.[A-Za-z0-9_-]{{43}}"
    ),
    "TOKEN": _secret(
        rf"{_word('eyJ')}[A-Za-z0-9_-]{{10,600}}+\.eyJ[A-Za-z0-9_-]{{10,800}}+\.[A-Za-z0-9_-]{{10,500}}+", reach=2000
    ),
}
"""Secrets by what is put in their place. A JSON Web Token is one, whoever gave it."""

PERSONAL: Mapping[str, Kind] = {
    "EMAIL": Kind(_mail_addresses),
    "CARD": _written_as(r"[0-9](?<![0-9A-Za-z][0-9])(?:[ -]?+[0-9]){12,18}+(?![0-9A-Za-z])", has_luhn_digit),
    "IBAN": _written_as(
        r"[0-9](?<=[A-Za-z]{2}[0-9])(?<![0-9A-Za-z][A-Za-z]{2}[0-9])[0-9]"
        r"(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?(?![0-9A-Za-z])",
        is_iban,
        before=2,
    ),
    "IP": Kind(_ip_addresses, is_address),
    "PHONE": _written_as(r"\+(?<![0-9A-Za-z]\+)[0-9](?:[ ./()-]{0,2}+[0-9]){7,14}+(?![0-9A-Za-z])", has_enough_digits),
}
"""Personal data. A telephone number is known by the + of its country: without it any number could be one."""

KINDS: Mapping[str, Kind] = {**SECRETS, **PERSONAL}
