"""The ASGI application: the gateway's direct door around Django."""

import os

from ai_gateway.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

application = get_asgi_application()
