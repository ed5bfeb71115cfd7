"""The app's configuration."""

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.utils.translation import gettext_lazy as _


class AIGatewayConfig(AppConfig):
    """Registers the system checks. Touches no database, starts no thread."""

    name = "ai_gateway"
    verbose_name = _("AI gateway")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Called by Django when all apps are loaded."""
        from ai_gateway import checks, registry  # noqa: F401  importing the checks registers them

        setting_changed.connect(registry.forget, dispatch_uid="ai_gateway.registry")
