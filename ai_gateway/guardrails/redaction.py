"""Secrets and personal data are replaced by placeholders before a provider sees them, or anybody the answer.

What has check digits is checked by them: not every sixteen digits are a credit card. A placeholder tells what stood
there, and which of several: `[EMAIL_1]`, the same each time in a call. If `restore` says so, a placeholder in the
answer becomes what it stands for: the caller sees no difference, and the provider never saw it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any, NamedTuple

from ai_gateway.edits import Edit, in_order
from ai_gateway.guardrails.base import ANSWER, Change, Guardrail, Verdict, View
from ai_gateway.guardrails.expressions import compiled, found
from ai_gateway.guardrails.search import REACH, Find, Span, search
from ai_gateway.passages import Passage, edits_of


def has_luhn_digit(number: str) -> bool:
    """Whether the last digit is the check digit of the others, as those of credit cards are (ISO/IEC 7812-1)."""
    digits = [int(each) for each in number if each.isdecimal()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and any(digits) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_iban(written: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616)."""
    letters = written.replace(" ", "").upper()
    return 15 <= len(letters) <= 34 and int("".join(str(int(each, 36)) for each in letters[4:] + letters[:4])) % 97 == 1


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

    def spans(self, text: str) -> Iterator[Span]:
        """Find it in a text."""
        return ((start, end) for start, end in self.find(text) if self.is_one(text[start:end]))


def _built_in(expression: str, is_one: Callable[[str], bool] = bool, **others: Any) -> Kind:
    """One whose expression is written so that it takes time in proportion to the text, however long that is."""
    pattern = re.compile(expression)
    return Kind(lambda text: (match.span() for match in pattern.finditer(text)), is_one, **others)


_secret = partial(_built_in, goes_on=True)


def _own(expression: str) -> Kind:
    return Kind(partial(found, compiled(expression)))


SECRETS: Mapping[str, Kind] = {
    "PRIVATE_KEY": _secret(
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
        reach=None,
    ),
    "API_KEY": _secret(
        r"(?<![A-Za-z0-9])(?:"
        r"sk-(?:ant-|proj-|or-|svcacct-|admin-)?[A-Za-z0-9_-]{20,300}+"  # OpenAI, Anthropic, OpenRouter, DeepSeek.
        r"|gw_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}"  # This gateway.
        r"|AIza[A-Za-z0-9_-]{35}"  # Google.
        r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # Amazon.
        r"|gh[pousr]_[A-Za-z0-9]{36,255}+|github_pat_[A-Za-z0-9_]{22,255}+"
        r"|glpat-[A-Za-z0-9_-]{20,100}+"
        r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}+"  # Slack.
        r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,250}+"  # Stripe.
        r"|hf_[A-Za-z0-9]{30,60}+|gsk_[A-Za-z0-9]{40,60}+|xai-[A-Za-z0-9]{60,120}+|pplx-[A-Za-z0-9]{40,60}+"
        r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,300}+|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"
        r")"
    ),
    "TOKEN": _secret(
        r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,600}+\.eyJ[A-Za-z0-9_-]{10,800}+\.[A-Za-z0-9_-]{10,500}+", reach=2000
    ),
}
"""Secrets by what is put in their place. A JSON Web Token is one, whoever gave it."""

PERSONAL: Mapping[str, Kind] = {
    "EMAIL": _built_in(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}+@(?:[A-Za-z0-9-]{1,63}+\.){1,8}[A-Za-z]{2,24}+"),
    "CARD": _built_in(r"(?<![0-9A-Za-z])[0-9](?:[ -]?+[0-9]){12,18}+(?![0-9A-Za-z])", has_luhn_digit),
    "IBAN": _built_in(
        r"(?<![0-9A-Za-z])[A-Za-z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?(?![0-9A-Za-z])", is_iban
    ),
    "IP": _built_in(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:]{0,40}+(?:[.][0-9]{1,3}+){0,3}+(?![0-9A-Za-z:])", is_address),
    "PHONE": _built_in(r"(?<![0-9A-Za-z])\+[0-9](?:[ ./()-]{0,2}+[0-9]){7,14}+(?![0-9A-Za-z])", has_enough_digits),
}
"""Personal data. A telephone number is known by the + of its country: without it any number could be one."""

KINDS: Mapping[str, Kind] = {**SECRETS, **PERSONAL}

_PLACEHOLDER = compiled(r"\[[A-Z_]{2,40}_[0-9]{1,6}\]")


class Redaction(Guardrail):
    """Replaces secrets and personal data by placeholders.

    `kinds` are names of KINDS, all by default; `patterns` are more of the operator's own, by name.
    """

    def __init__(
        self,
        *,
        kinds: Sequence[str] | None = None,
        patterns: Mapping[str, str] | None = None,
        restore: bool = False,
    ) -> None:
        unknown = sorted(set(kinds or ()) - set(KINDS))
        if unknown:
            raise ValueError(f"it knows {', '.join(KINDS)}, and not {', '.join(unknown)}")
        chosen = {name: KINDS[name] for name in KINDS if kinds is None or name in kinds}
        own = {_checked(name): _own(expression) for name, expression in (patterns or {}).items()}
        self._kinds = {**own, **chosen}
        self._restores = restore

    async def review(self, view: View) -> Verdict:
        """See Guardrail.review()."""
        known: MutableMapping[str, str] = view.memory.setdefault("placeholders", {})
        if view.stage == ANSWER and self._restores:
            return self._restored(view, known)
        hits = [(passage, hit) for passage in view.passages for hit in self._found(passage)]
        if not hits:
            return None
        edits = edits_of(
            (passage, hit._replace(text=_placeholder(hit.text, passage.value[hit.start : hit.end], known)))
            for passage, hit in hits
        )
        return Change(edits, f"Found: {', '.join(sorted({hit.text for _, hit in hits}))}.")

    def _found(self, passage: Passage) -> list[Edit]:
        """Find what is to be replaced, for now by the name of its kind."""
        return in_order(
            Edit(start, end, name)
            for name, kind in self._kinds.items()
            for start, end in search(passage, kind.spans, goes_on=kind.goes_on, reach=kind.reach)
        )

    def _restored(self, view: View, known: Mapping[str, str]) -> Verdict:
        values = {placeholder: value for value, placeholder in known.items()}
        edits: dict[int, list[Edit]] = {}
        for number, text in enumerate(view.texts if values else ()):
            for start, end in found(_PLACEHOLDER, text.value):
                value = values.get(text.value[start:end])
                if value is not None:
                    edits.setdefault(number, []).append(Edit(start, end, value))
        return Change(edits, "Placeholders were restored.") if edits else None


def _checked(name: str) -> str:
    if not re.fullmatch("[A-Z_]{2,40}", name):
        raise ValueError(f"the name of a pattern is of capitals and _, and {name!r} is not")
    return name


def _placeholder(name: str, value: str, known: MutableMapping[str, str]) -> str:
    """Give what stands for a value: the same each time in a call."""
    if value not in known:
        known[value] = f"[{name}_{1 + sum(each.startswith(f'[{name}_') for each in known.values())}]"
    return known[value]
