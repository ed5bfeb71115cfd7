"""A person at the admin: opens pages, fills forms in as the page gave them, and sends them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

INPUT = re.compile(r"<(input|textarea|select)\b([^>]*)>(.*?)(?=<input|<textarea|<select|$)", re.DOTALL)
ATTRIBUTE = re.compile(r'([\w-]+)(?:="([^"]*)")?')
OPTION = re.compile(r"<option\b([^>]*)>", re.DOTALL)


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:{name}", args=args)


def get(client: Client, name: str, /, *args: Any, **query: Any) -> str:
    """Open a page, and give its HTML."""
    response = client.get(url(name, *args), query)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def filled_in(html: str) -> dict[str, Any]:
    """Read what a browser would send of the form of a page, if nobody changed anything."""
    found: dict[str, Any] = {}
    body = html.split('id="content-main"', 1)[-1]
    for tag, text, after in INPUT.findall(body):
        attributes = {name: unescape(value) for name, value in ATTRIBUTE.findall(text)}
        name, kind = attributes.get("name"), attributes.get("type", tag)
        if not name or name == "csrfmiddlewaretoken" or kind in ("submit", "button"):
            continue
        if kind in ("checkbox", "radio"):
            if "checked" in attributes:
                found.setdefault(name, []).append(attributes.get("value", "on"))
        elif tag == "select":
            options = after.split("</select>")[0]
            found[name] = [
                unescape(dict(ATTRIBUTE.findall(option)).get("value", ""))
                for option in OPTION.findall(options)
                if re.search(r"\bselected\b", option)
            ]
        elif tag == "textarea":
            found[name] = unescape(after.split("</textarea>")[0]).removeprefix("\n").strip("\r\n")
        else:
            found[name] = attributes.get("value", "")
    return found


def send(client: Client, name: str, /, *args: Any, **changes: Any) -> Any:
    """Open a page, change some fields of its form, and send it. Two underscores stand for the dash of a formset."""
    data = filled_in(get(client, name, *args))
    data.update({field.replace("__", "-"): value for field, value in changes.items()})
    return client.post(url(name, *args), data)


def told(response: Any) -> str:
    """Give what the messages of an answer say."""
    return " ".join(str(message) for message in get_messages(response.wsgi_request))
