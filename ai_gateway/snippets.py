"""What to paste where, so that a client calls this gateway: for curl, the SDKs, Claude Code and Codex."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

from ai_gateway.conf import settings

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

VARIABLE = "GATEWAY_KEY"
"""The environment variable that the snippets take the key from: none of them has the key itself in it."""

EXAMPLE_MODEL = "echo/echo-1"

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """One text to paste. `where` says in words where it belongs."""

    name: str
    title: StrOrPromise
    where: StrOrPromise
    text: str = field(repr=False)


def origin(request: HttpRequest) -> str:
    """Give the address of the gateway, as clients see it, without a slash at the end."""
    try:
        path = reverse("ai_gateway:api", kwargs={"path": "v1"}).removesuffix("/v1")
    except NoReverseMatch:  # The site has the direct door only.
        path = settings.PREFIX
    return request.build_absolute_uri(path or "/").rstrip("/")


def for_key(base: str, token: str) -> list[Snippet]:
    """Write what makes a key known to a shell, and then all the rest. The one place where a key is written out."""
    export = Snippet(
        name="export", title=_("In your shell"), where=_("Once, before the others."), text=f"export {VARIABLE}={token}"
    )
    return [export, *for_clients(base)]


def for_clients(base: str, chosen: str = "") -> list[Snippet]:
    """Write the snippets, for a model if one was chosen. One whose name would need quoting gives way to the example."""
    is_chosen = PLAIN_NAME.fullmatch(chosen) is not None
    model = chosen if is_chosen else EXAMPLE_MODEL
    claude_model = f"export ANTHROPIC_MODEL={model}\n" if is_chosen else ""
    codex_model = f'model = "{model}"\n' if is_chosen else ""
    return [
        Snippet(
            name="curl",
            title="curl",
            where=_("In a shell."),
            text=f"curl {base}/v1/chat/completions \\\n"
            f'  -H "Authorization: Bearer ${VARIABLE}" \\\n'
            f"  -H 'Content-Type: application/json' \\\n"
            f"""  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'""",
        ),
        Snippet(
            name="openai",
            title="OpenAI SDK",
            where=_("Python; the other languages take the same base URL."),
            text="import os\n\nfrom openai import OpenAI\n\n"
            f'client = OpenAI(base_url="{base}/v1", api_key=os.environ["{VARIABLE}"])\n'
            "answer = client.chat.completions.create(\n"
            f'    model="{model}", messages=[{{"role": "user", "content": "Hello"}}]\n'
            ")\nprint(answer.choices[0].message.content)",
        ),
        Snippet(
            name="anthropic",
            title="Anthropic SDK",
            where=_("Python; note that the base URL has no /v1."),
            text="import os\n\nfrom anthropic import Anthropic\n\n"
            f'client = Anthropic(base_url="{base}", api_key=os.environ["{VARIABLE}"])\n'
            "answer = client.messages.create(\n"
            f'    model="{model}", max_tokens=1000, messages=[{{"role": "user", "content": "Hello"}}]\n'
            ")\nprint(answer.content[0].text)",
        ),
        Snippet(
            name="claude-code",
            title="Claude Code",
            where=_("In a shell."),
            text=f'export ANTHROPIC_BASE_URL={base}\nexport ANTHROPIC_AUTH_TOKEN="${VARIABLE}"\n{claude_model}claude',
        ),
        Snippet(
            name="codex",
            title="Codex",
            where=_("In the file ~/.codex/config.toml"),
            text=f'{codex_model}model_provider = "gateway"\n\n[model_providers.gateway]\nname = "Gateway"\n'
            f'base_url = "{base}/v1"\nenv_key = "{VARIABLE}"\nwire_api = "responses"',
        ),
    ]
