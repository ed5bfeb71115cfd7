"""May a page of this origin open a websocket here?

Browsers ask nobody before they open one, so the server has to look. The answer is what the site says of all calls by
its CORS settings: its own pages may, and those that django-cors-headers lets in. No page can act for whoever is logged
in, whatever it is: the gateway looks at no cookie, and a page has to know a key.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings as site

from ai_gateway.calls import Arrival
from ai_gateway.errors import PermissionDenied

CORS_MIDDLEWARE = "corsheaders.middleware.CorsMiddleware"


def check_origin(arrival: Arrival) -> None:
    """Raise PermissionDenied for a page that the site does not let in. Who is no browser has no origin."""
    origin = arrival.fields.get(b"origin")
    if origin is None:
        return
    name = origin.decode("latin-1")
    if not (is_own(name, arrival.fields.get(b"host", b"").decode("latin-1")) or is_let_in(name)):
        raise PermissionDenied("Pages of this origin may not connect. The site's CORS settings say which may.")


def is_own(origin: str, host: str) -> bool:
    """Whether an origin is the host that was asked."""
    return bool(host) and urlsplit(origin).netloc.lower() == host.lower()


def is_let_in(origin: str) -> bool:
    """Whether the site's CORS settings let an origin in."""
    if CORS_MIDDLEWARE not in site.MIDDLEWARE:
        return False
    from corsheaders.conf import conf
    from corsheaders.middleware import CorsMiddleware

    judge = CorsMiddleware(lambda request: request)
    return bool(conf.CORS_ALLOW_ALL_ORIGINS or judge.origin_found_in_white_lists(origin, urlsplit(origin)))
