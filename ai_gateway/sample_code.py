"""One request as code to paste: for curl, the SDK of its format in Python, and JavaScript.

The key is taken from an environment variable; none of the texts has one in it. What the SDK has no argument for is
passed by the way that each SDK has for that.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pprint import pformat
from typing import Any

from django.utils.translation import gettext_lazy as _

from ai_gateway.prompts import Written
from ai_gateway.snippets import VARIABLE, Snippet

WIDTH = 100

READS_STREAM = {
    "openai_chat": (
        "for chunk in answer:\n"
        "    if chunk.choices and chunk.choices[0].delta.content:\n"
        '        print(chunk.choices[0].delta.content, end="", flush=True)'
    ),
    "openai_responses": (
        "for event in answer:\n"
        '    if event.type == "response.output_text.delta":\n'
        '        print(event.delta, end="", flush=True)'
    ),
    "anthropic_messages": (
        "for event in answer:\n"
        '    if event.type == "content_block_delta" and event.delta.type == "text_delta":\n'
        '        print(event.delta.text, end="", flush=True)'
    ),
    "gemini": 'for chunk in answer:\n    print(chunk.text or "", end="", flush=True)',
}
"""How Python shows a stream, by the format."""

READS_WHOLE = {
    "openai_chat": "print(answer.choices[0].message.content)",
    "openai_responses": "print(answer.output_text)",
    "anthropic_messages": 'print("".join(block.text for block in answer.content if block.type == "text"))',
    "gemini": "print(answer.text)",
}
"""How Python shows a whole answer."""


NO_ARGUMENTS = ("temperature", "top_p", "top_k", "output_config")
"""Members that only some versions of Anthropic's SDK have arguments for."""


def for_request(base: str, request: Written) -> list[Snippet]:
    """Write a request as code, for the gateway at this address."""
    return [
        Snippet(name="curl", title="curl", where=_("In a shell."), text=_curl(base, request)),
        Snippet(
            name="python",
            title=_TITLES[request.format],
            where=_("Python."),
            text=_PYTHON[request.format](base, request),
        ),
        Snippet(name="javascript", title="JavaScript", where=_("Node 18 and newer."), text=_javascript(base, request)),
    ]


def _url(base: str, request: Written) -> str:
    return f"{base}{request.path}" + (f"?{request.query}" if request.query else "")


def _headers(request: Written) -> dict[str, str]:
    given = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
    return {"content-type": "application/json", **given}


def _curl(base: str, request: Written) -> str:
    headers = "".join(f"  -H {shlex.quote(f'{name}: {value}')} \\\n" for name, value in _headers(request).items())
    body = json.dumps({**request.body, **request.extra}, indent=2, ensure_ascii=False)
    return (
        f"curl --no-buffer {shlex.quote(_url(base, request))} \\\n"
        f'  -H "authorization: Bearer ${VARIABLE}" \\\n'
        f"{headers}"
        # No line of JSON is this word: line breaks inside of texts are written as \\n.
        f"  --data-binary @- <<'JSON'\n{body}\nJSON"
    )


def _javascript(base: str, request: Written) -> str:
    headers = "".join(f"    {json.dumps(name)}: {json.dumps(value)},\n" for name, value in _headers(request).items())
    body = json.dumps({**request.body, **request.extra}, indent=2, ensure_ascii=False).replace("\n", "\n  ")
    return (
        f"const response = await fetch({json.dumps(_url(base, request))}, {{\n"
        '  method: "POST",\n'
        "  headers: {\n"
        f'    "authorization": `Bearer ${{process.env.{VARIABLE}}}`,\n'
        f"{headers}"
        "  },\n"
        f"  body: JSON.stringify({body}),\n"
        "});\n"
        "for await (const piece of response.body) process.stdout.write(piece);"
    )


def _python(prologue: str, call: str, arguments: Mapping[str, Any], request: Written) -> str:
    reads = (READS_STREAM if request.stream else READS_WHOLE)[request.format]
    written = "".join(f"    {name}={_literal(value)},\n" for name, value in arguments.items())
    return f"import os\n\n{prologue}\nanswer = {call}(\n{written})\n{reads}"


def _literal(value: Any) -> str:
    """Write a value in Python, as an argument."""
    return pformat(value, width=WIDTH, sort_dicts=False).replace("\n", "\n    ")


def _with_extra(request: Written, *more: str) -> dict[str, Any]:
    """Give the body's members as arguments; those that the SDK has none for, and these, as what goes besides."""
    arguments = {name: value for name, value in request.body.items() if name not in more}
    besides = {name: value for name, value in request.body.items() if name in more} | request.extra
    return {**arguments, **({"extra_body": besides} if besides else {})}


def _openai(base: str, request: Written) -> str:
    prologue = f'from openai import OpenAI\n\nclient = OpenAI(base_url="{base}/v1", api_key=os.environ["{VARIABLE}"])'
    call = "client.responses.create" if request.format == "openai_responses" else "client.chat.completions.create"
    return _python(prologue, call, _with_extra(request), request)


def _anthropic(base: str, request: Written) -> str:
    prologue = (
        f'from anthropic import Anthropic\n\nclient = Anthropic(base_url="{base}", api_key=os.environ["{VARIABLE}"])'
    )
    return _python(prologue, "client.messages.create", _with_extra(request, *NO_ARGUMENTS), request)


def _google(base: str, request: Written) -> str:
    options = {"base_url": base, **({"extra_body": request.extra} if request.extra else {})}
    prologue = (
        "from google import genai\n\n"
        f'client = genai.Client(api_key=os.environ["{VARIABLE}"], http_options={_literal(options)})'
    )
    body = dict(request.body)
    contents, settings = body.pop("contents", []), body.pop("generationConfig", {})
    call = "client.models.generate_content_stream" if request.stream else "client.models.generate_content"
    arguments = {"model": request.model, "contents": contents, "config": {**settings, **body}}
    return _python(prologue, call, arguments, request)


_PYTHON: Mapping[str, Callable[[str, Written], str]] = {
    "openai_chat": _openai,
    "openai_responses": _openai,
    "anthropic_messages": _anthropic,
    "gemini": _google,
}

_TITLES = {
    "openai_chat": "Python, OpenAI SDK",
    "openai_responses": "Python, OpenAI SDK",
    "anthropic_messages": "Python, Anthropic SDK",
    "gemini": "Python, Google Gen AI SDK",
}
