"""Recorded calls in the database: redacted and encrypted on their way in, opened for those who may read them.

Whoever has `view_recordedcall` may read those of the calls that they may see: all with `view_usage`, else their own.
Each time one is read that is noted in the admin's history, before anything of it is shown.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, router
from django.utils.module_loading import import_string

from ai_gateway.conf import settings
from ai_gateway.credentials import Secret
from ai_gateway.crypto import CryptoError
from ai_gateway.keyring import keyring
from ai_gateway.models import RecordedCall
from ai_gateway.models.base import stored_at
from ai_gateway.protocols.jsontext import loads
from ai_gateway.recorder import Body, Recording, Unavailable
from ai_gateway.recording_policy import RecordingPolicy
from ai_gateway.redaction import SHORTEST, credentials_in, scrubbed, without_credentials

logger = logging.getLogger("ai_gateway")

DOCUMENT = RecordedCall._meta.get_field("document")

Document = dict[str, Any]
"""A recording as it is kept, and as a redaction hook gets it: `dialect`, `path`, `is_stream`, and as `request` and
`response` the `body` as text with its `encoding` ("utf-8", or "base64" for what is no text), its `length` before it was
cut, `headers` if they are kept, and the `status` of the response."""


def no_secrets() -> Iterable[Secret]:
    """Know of none."""
    return ()


stored_secrets: Callable[[], Iterable[Secret]] = no_secrets
"""Gives the credentials that are sent to providers in the place of a caller's. The app's `ready()` puts it here."""

CHANGE = 2
"""What Django's history calls something that is neither an addition nor a deletion."""

BATCH = 200


def database() -> str:
    """Name the database that recordings are written to."""
    return router.db_for_write(RecordedCall) or "default"


def release() -> None:
    """Give the connections of this thread back."""
    connections.close_all()


# On the way in.


def store(recordings: Sequence[Recording]) -> None:
    """Redact, encrypt and write recordings. Raises Unavailable if the database, or a key to encrypt with, is not there.

    A recording that is there already is not written again."""
    rows = [row for recording in recordings for row in _rows(recording)]
    try:
        keyring()  # Before a transaction begins.
        RecordedCall.objects.using(database()).bulk_create(rows, ignore_conflicts=True)
    except (DatabaseError, ImproperlyConfigured, CryptoError) as error:
        raise Unavailable(str(error)) from error


def _rows(recording: Recording) -> Iterator[RecordedCall]:
    """Make the row of a recording; none if it cannot be redacted, or the hook gives what is no JSON."""
    try:
        document = redacted(written(recording))
        text = "" if document is None else _as_json(document)
    except Exception as error:
        # Its message may quote what was to be taken out.
        logger.error("%s: redaction ended in %s: nothing is kept", recording.id, type(error).__name__)
        return
    if document is None:
        return
    bodies = [body for body in (recording.request, recording.response) if body is not None]
    yield RecordedCall(
        id=UUID(recording.id),
        recorded_at=stored_at(recording.at),
        key_id=recording.key_id,
        user_id=recording.user_id,
        bytes_kept=recording.size,
        is_cut=any(len(body.kept) < body.length for body in bodies),
        document=text,
    )


def _as_json(document: Document) -> str:
    """Write a document as JSON. A hook that reads JSON may find half of a surrogate pair in it, which is no character:
    a question mark takes its place. Raises TypeError."""
    try:
        return msgspec.json.encode(document).decode()
    except UnicodeEncodeError:
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace").decode()


def redacted(document: Document) -> Document | None:
    """Have a recording redacted by the site's own hook. None: it is not to be kept. Raises whatever the hook raises."""
    policy = settings.BODY_LOGGING
    if policy is None or not policy.redact:
        return document
    redact: Callable[[Document], Document | None] = import_string(policy.redact)
    return redact(document)


def written(recording: Recording) -> Document:
    """Write a recording as a document, without credentials."""
    credentials = credentials_in(recording.request_headers) | credentials_in(recording.response_headers) | _stored()
    document: Document = {"dialect": recording.dialect, "path": recording.path, "is_stream": recording.is_stream}
    document["request"] = _part(recording.request, credentials)
    document["response"] = {"status": recording.status, **_part(recording.response, credentials)}
    if recording.keeps_headers:
        document["request"]["headers"] = without_credentials(recording.request_headers)
        document["response"]["headers"] = without_credentials(recording.response_headers)
    return document


def _stored() -> set[bytes]:
    """List what a provider was sent, and may repeat."""
    values = {secret.reveal().encode() for secret in stored_secrets()}
    return {value for value in values if len(value) >= SHORTEST}


def _part(body: Body | None, credentials: set[bytes]) -> Document:
    if body is None:
        return {"body": None, "length": 0}
    is_cut = len(body.kept) < body.length
    kept = scrubbed(body.kept, credentials, is_cut=is_cut)
    try:
        # A body may be cut in the middle of a character.
        text, encoding = kept.decode("utf-8", "ignore" if is_cut and _is_text(kept) else "strict"), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(kept).decode("ascii"), "base64"
    return {"body": text, "encoding": encoding, "length": body.length, "is_cut": is_cut}


def _is_text(kept: bytes) -> bool:
    """Whether what was cut is text but for its end, where a character of up to four bytes may be cut through."""
    try:
        kept.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(kept) - 3
    return True


# On the way out.


def is_any() -> bool:
    """Whether the bodies of any call are kept."""
    return RecordedCall.objects.using(database()).exists()


def is_there(record_id: UUID) -> bool:
    """Whether the bodies of a call are kept."""
    return RecordedCall.objects.filter(pk=record_id).exists()


def may_read(user: Any, owner_id: Any) -> bool:
    """Whether a user may read the bodies of a call, by whose it was."""
    is_theirs = owner_id is not None and owner_id == user.pk
    is_in_sight = is_theirs or user.has_perm("ai_gateway.view_usage")
    return bool(is_in_sight and user.has_perm("ai_gateway.view_recordedcall"))


def document_of(record_id: UUID, user: Any) -> Document | None:
    """Open the bodies of a call for a user, and note that. None if there are none, or the user may not read them.

    Raises CryptoError if they do not open."""
    row = RecordedCall.objects.filter(pk=record_id).first()
    if row is None or not may_read(user, row.user_id):
        return None
    _note(row, user)
    secret = DOCUMENT.open(row)
    found: Document | None = None if secret is None else msgspec.json.decode(secret.reveal())
    return found


def _note(row: RecordedCall, user: Any) -> None:
    """Note in the history of the admin who reads what. A site without the admin has no pages to read it on."""
    if apps.is_installed("django.contrib.admin"):
        apps.get_model("admin", "LogEntry").objects.create(
            user_id=user.pk,
            content_type_id=ContentType.objects.get_for_model(RecordedCall).pk,
            object_id=str(row.pk),
            object_repr=str(row),
            action_flag=CHANGE,
            change_message="Read what was said.",
        )


def request_of(record_id: UUID, user: Any) -> Document | None:
    """Give the request of a recorded call to somebody who may read it: its `dialect`, its `path` and its JSON `body`.
    None if there is none, it was cut, or it is no JSON object. Noted as reading is. Raises CryptoError if it does not
    open."""
    document = document_of(record_id, user)
    if document is None:
        return None
    try:
        body = loads((document["request"]["body"] or "").encode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    return {"dialect": document["dialect"], "path": document["path"], "body": body}


# In the end.


def retention() -> int | None:
    """After how many days a recording is deleted; None: never. What is left of a site that keeps no more goes, too."""
    policy = settings.BODY_LOGGING
    return RecordingPolicy().retention_days if policy is None else policy.retention_days


def old(begin: datetime) -> Any:
    """Give the recordings from before a point in time."""
    return RecordedCall.objects.using(database()).filter(recorded_at__lt=begin)


def delete_some(begin: datetime) -> int:
    """Delete a batch of the recordings from before a point in time; give their number."""
    ids = list(old(begin).order_by("recorded_at").values_list("pk", flat=True)[:BATCH])
    if not ids:
        return 0
    count: int = RecordedCall.objects.using(database()).filter(pk__in=ids).delete()[0]
    return count
