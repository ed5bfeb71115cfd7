"""The admin: where people configure the gateway, see whether it works, and hand out keys.

Importing this registers it with the site's admin. Django does so by itself where `django.contrib.admin` is installed.
"""

from ai_gateway.admin.keys import VirtualKeyAdmin
from ai_gateway.admin.prices import PriceAdmin
from ai_gateway.admin.providers import CredentialAdmin, ProviderAdmin
from ai_gateway.admin.routes import RouteAdmin

__all__ = ["CredentialAdmin", "PriceAdmin", "ProviderAdmin", "RouteAdmin", "VirtualKeyAdmin"]
