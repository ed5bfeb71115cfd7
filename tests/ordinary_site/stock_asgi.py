"""The ASGI module of a site that has only included the urls."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.ordinary_site.settings")

application = get_asgi_application()
