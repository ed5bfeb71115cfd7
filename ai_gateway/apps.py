"""The app's configuration."""

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.db import close_old_connections
from django.utils.translation import gettext_lazy as _


class AIGatewayConfig(AppConfig):
    """Registers the system checks, and what reads the configuration. Touches no database, starts no thread."""

    name = "ai_gateway"
    verbose_name = _("AI gateway")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Called by Django when all apps are loaded, models included."""
        from ai_gateway import (  # noqa: F401
            alerts,
            breaker_events,
            breakers,
            cache_store,
            changes,
            checks,
            gossip,
            key_store,
            ledger,
            ledger_store,
            lifespan,
            limits,
            notices,
            peers,
            recorded,
            recorder,
            refresher,
            registry,
            roster,
            seeding,
            spending,
            statement,
            stored,
            telemetry,
        )
        from ai_gateway.guardrails import hook
        from ai_gateway.journal import Journal
        from ai_gateway.key_cache import KeyCache
        from ai_gateway.price_catalogue import GenAIPrices

        registry.SOURCES.append(stored.from_database)
        registry.key_cache = KeyCache(key_store.read_keys, stored.release)
        registry.writes_usage = stored.has_database
        registry.price_catalogue = GenAIPrices()
        refresher.refresher = refresher.Refresher(stored.read_version, key_store.write_used, stored.release)
        ledger.ledger = ledger.Ledger(ledger_store, Journal(find_mark=ledger_store.mark))
        recorded.stored_secrets = registry.stored_secrets
        recorder.recorder = recorder.Recorder(recorded.store, recorded.release)
        limits.seed = seeding.spent
        statement.reader = statement.Reader(spending.of_caller, stored.release)
        changes.connect()
        roster.connect()
        alerts.connect()
        lifespan.on_start.append(alerts.start)
        lifespan.on_end.append(alerts.stop)
        hook.around.append(close_old_connections)
        gossip.connect()
        breakers.listeners.append(notices.tell_of_breaker)
        breaker_events.connect()
        setting_changed.connect(alerts.connect, dispatch_uid="ai_gateway.alerts")
        telemetry.connect()
        setting_changed.connect(registry.forget, dispatch_uid="ai_gateway.registry")
        setting_changed.connect(cache_store.forget, dispatch_uid="ai_gateway.cache_store")
        setting_changed.connect(limits.forget, dispatch_uid="ai_gateway.limits")
        setting_changed.connect(peers.forget, dispatch_uid="ai_gateway.peers")
