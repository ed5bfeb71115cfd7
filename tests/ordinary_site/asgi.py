"""The ASGI module of `startproject`, with the import exchanged."""

import os

from ai_gateway.asgi import get_asgi_application  # the gateway: 3 of 3

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.ordinary_site.settings")

application = get_asgi_application()
