"""The admin: where people configure the gateway, see whether it works and what is used, and hand out keys.

Importing this registers it with the site's admin. Django does so by itself where `django.contrib.admin` is installed.
"""

from ai_gateway.admin.alerts import AlertAdmin
from ai_gateway.admin.breaker_events import BreakerEventAdmin
from ai_gateway.admin.dashboard import DashboardAdmin
from ai_gateway.admin.keys import VirtualKeyAdmin
from ai_gateway.admin.limits import LimitAdmin
from ai_gateway.admin.live import LiveAdmin
from ai_gateway.admin.playground import PlaygroundAdmin
from ai_gateway.admin.prices import PriceAdmin
from ai_gateway.admin.providers import CredentialAdmin, ProviderAdmin
from ai_gateway.admin.routes import RouteAdmin
from ai_gateway.admin.usage import UsageRecordAdmin
from ai_gateway.admin.usage_daily import UsageDailyAdmin

__all__ = [
    "AlertAdmin",
    "BreakerEventAdmin",
    "CredentialAdmin",
    "DashboardAdmin",
    "LimitAdmin",
    "LiveAdmin",
    "PlaygroundAdmin",
    "PriceAdmin",
    "ProviderAdmin",
    "RouteAdmin",
    "UsageDailyAdmin",
    "UsageRecordAdmin",
    "VirtualKeyAdmin",
]
