"""`manage.py gateway_explain MODEL`: which targets would be asked, in which order, and why?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ai_gateway import key_store, registry
from ai_gateway.calls import Caller, Headers
from ai_gateway.explanation import EMPTY, explain
from ai_gateway.management.commands.gateway_key import find_key, find_user


class Command(BaseCommand):
    """Print the decisions of a call that is not made."""

    help = "Explain where a call for a model would go. Exits with 1 if it would be refused."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("model")
        parser.add_argument("--key", help="as the holder of this virtual key, by its public id")
        parser.add_argument("--user", help="as this user of the site")
        parser.add_argument("--path", default="/v1/chat/completions", help="default: /v1/chat/completions")
        parser.add_argument("--provider", help="with this in the header x-provider")
        parser.add_argument(
            "--header", action="append", default=[], help="with this header, name: value; again for more"
        )
        parser.add_argument("--body", help="with the JSON body in this file; - for the standard input")

    def handle(self, *args: Any, model: str, path: str, provider: str | None, **options: Any) -> None:
        """Run the command."""
        headers: Headers = [(b"x-provider", provider.encode())] if provider else []
        caller, who = find_caller(options["key"], options["user"])
        headers += [read_header(each) for each in options["header"]]
        body = read_body(options["body"]) if options["body"] else EMPTY
        found = explain(model, caller, registry.refresh(), path=path, headers=headers, body=body)
        self.stdout.write(f"{model} at {path}, for {who}: {found.reason}.")
        for number, finding in enumerate(found.targets, 1):
            verdict = self.style.ERROR(finding.problem) if finding.problem else self.style.SUCCESS("can be asked")
            self.stdout.write(
                f"{number}. {finding.target.provider} / {finding.target.model or model}  {finding.url}  {verdict}"
            )
        for aside in found.asides:
            self.stdout.write(f"Besides, {aside}.")
        if found.error:
            self.stdout.write(self.style.ERROR(found.error))
        if not found.is_served:
            sys.exit(1)


def read_header(text: str) -> tuple[bytes, bytes]:
    """Read a header. Raises CommandError."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip().isascii():
        raise CommandError(f"{text!r} is not written as name: value.")
    return name.strip().lower().encode(), value.strip().encode()


def read_body(name: str) -> bytes:
    """Read a body. Raises CommandError."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from error


def find_caller(key: str | None, user: str | None) -> tuple[Caller, str]:
    """Make the caller that is meant, and name it. Raises CommandError for a key that is not valid."""
    if key:
        found = find_key(key)
        record = key_store.read_keys([found.public_id])[found.public_id]
        if record.problem or not record.is_verifiable:
            raise CommandError(record.problem or "This key cannot be verified: its encryption key is missing.")
        return record.caller, f"the key {found.name!r}"
    if user:
        return key_store.caller_of(find_user(user)), f"the user {user}"
    return Caller(key_name="operator"), "the operator"
