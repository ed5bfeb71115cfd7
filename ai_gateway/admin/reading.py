"""What the page of a recorded call shows: the conversation, and the bodies as they were.

All of it was written by somebody else, or by a model. It is shown as text and nothing else: the template escapes it,
and nothing of it becomes an address, an image or markup.
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from ai_gateway import recorded, registry
from ai_gateway.conversations import Answered, Asked, read_answer, read_request, readable
from ai_gateway.crypto import CryptoError
from ai_gateway.models import UsageRecord

ROLES = {
    "system": _("System"),
    "user": _("User"),
    "assistant": _("Assistant"),
    "tool": _("Tool"),
}


class Shown(NamedTuple):
    """A body as it was, with its headers if they are kept."""

    title: str
    text: str
    headers: list[tuple[str, str]]
    note: str


def reading(record: UsageRecord, user: Any) -> dict[str, Any]:
    """Open a recorded call, and give what is shown of it."""
    try:
        document = recorded.document_of(record.pk, user)
    except CryptoError as error:
        return {"problem": str(error)}
    if document is None:
        return {"problem": translate("Nothing is kept of this call.")}
    asked, answered = conversation(document)
    turns = [*(asked.turns if asked is not None else ()), *([answered.turn] if answered is not None else ())]
    return {
        "turns": [(turn.role, ROLES.get(turn.role, turn.role), turn.pieces) for turn in turns],
        "tool_names": asked.tools if asked is not None else (),
        "ending": answered.ending if answered is not None and not is_cut(document, "response") else "",
        "is_whole": answered is not None and answered.is_whole,
        "has_question": asked is not None,
        "has_answer": answered is not None,
        "bodies": [
            shown(document, "request", translate("Request")),
            shown(document, "response", translate("Answer")),
        ],
        "status": document["response"].get("status"),
    }


def conversation(document: recorded.Document) -> tuple[Asked | None, Answered | None]:
    """Read what is kept as a conversation, as far as it can be read as one."""
    question, answer = document["request"], document["response"]
    asked = read_request(document["dialect"], document["path"], question.get("body") or "", registry.snapshot().carrier)
    body = answer.get("body") or ""
    raw = base64.b64decode(body) if answer.get("encoding") == "base64" else body.encode()
    return asked, read_answer(document["dialect"], raw, answer.get("status") or 0)


def is_cut(document: recorded.Document, name: str) -> bool:
    """Whether a body was longer than what is kept of it."""
    return bool(document[name].get("is_cut"))


def shown(document: recorded.Document, name: str, title: str) -> Shown:
    """Show a body as it was; JSON is indented."""
    part = document[name]
    body, note = part.get("body"), ""
    if body is None:
        note = translate("It is not kept.")
    elif part.get("encoding") == "base64":
        note = translate("It is no text, and shown as base64.")
    elif is_cut(document, name):
        note = translate("Cut: it had %(length)s bytes.") % {"length": f"{part['length']:,}"}
    headers = [(str(key), str(value)) for key, value in part.get("headers") or ()]
    return Shown(title, readable(body or ""), headers, note)
