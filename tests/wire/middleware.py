"""A middleware of a site that fails on demand."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class Refuse:
    """Answers with the status that `x-fail-with` names, in HTML, or raises if it says "crash"."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        wanted = request.headers.get("x-fail-with")
        if wanted == "crash":
            raise RuntimeError("canary: a detail of the site")
        if wanted is not None:
            return HttpResponse("<html>no</html>", status=int(wanted))
        return self._get_response(request)
