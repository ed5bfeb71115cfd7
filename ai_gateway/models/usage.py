"""What was used: a row for each finished call, and a row for each day and who used what of whom.

Neither is ever written on the path of a call: `ledger.py` writes both, in one transaction. Rows outlive the keys, users
and groups that they name, so there are no constraints to those; `key_name` keeps the name that a key had.

Tokens are in disjoint buckets (`conversation.TokenUsage`), money in nano-dollars: integers, which sum up exactly.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings as site
from django.contrib.auth.models import Group
from django.db import models
from django.utils.translation import gettext_lazy as _

from ai_gateway import histograms
from ai_gateway.exact_text import ExactCharField
from ai_gateway.models.keys import VirtualKey
from ai_gateway.models.usage_queries import UsageDailyQuerySet, UsageRecordQuerySet
from ai_gateway.money import dollars

NAME = 200
"""The longest name that is kept; a longer one is cut."""


def reference(to: Any, name: Any) -> models.ForeignKey[Any, Any]:
    """A column that names a row which may be deleted without this one: nothing that was used is forgotten."""
    return models.ForeignKey(
        to,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        related_name="+",
        verbose_name=name,
    )


def count(name: Any) -> models.BigIntegerField[Any, Any]:
    """A column that counts."""
    return models.BigIntegerField(name, default=0)


def text(name: Any, length: int = NAME) -> ExactCharField:
    """A column that names something, or is empty."""
    return ExactCharField(name, max_length=length, blank=True, default="")


class Spent(models.Model):
    """What both tables have: who, of whom, and how much."""

    key = reference(VirtualKey, _("key"))
    key_name = text(_("key name"))
    user = reference(site.AUTH_USER_MODEL, _("user"))
    group = reference(Group, _("group"))
    provider = text(_("provider"))
    served_model = ExactCharField(
        _("model"), max_length=NAME, blank=True, default="", help_text=_("The provider's own name of the model.")
    )
    route = text(_("route"))

    input_tokens = count(_("input tokens"))
    cache_read_tokens = count(_("tokens read from the cache"))
    cache_write_tokens = count(_("tokens written to the cache"))
    cache_write_1h_tokens = count(_("tokens written to the cache for an hour"))
    output_tokens = count(_("output tokens"))
    reasoning_tokens = count(_("reasoning tokens"))
    input_audio_tokens = count(_("audio tokens heard"))
    input_image_tokens = count(_("image tokens seen"))
    output_audio_tokens = count(_("audio tokens spoken"))
    output_image_tokens = count(_("image tokens drawn"))

    class Meta:
        abstract = True


class UsageRecord(Spent):
    """One finished call, however it ended.

    `id` is made while the call lasts and begins with the time (UUID version 7, RFC 9562): rows are written about in the
    order of their keys, may be written again without being counted again, and PostgreSQL can partition by it.
    """

    class Outcome(models.TextChoices):
        """What ended a call."""

        ANSWERED = "answered", _("answered")
        CACHED = "cached", _("answered from the cache")
        REFUSED = "refused", _("refused by the gateway")
        LIMITED = "limited", _("refused by a limit")
        BLOCKED = "blocked", _("blocked by a guardrail")
        FAILED = "failed", _("failed")
        TIMED_OUT = "timed_out", _("timed out")
        DISCONNECTED = "disconnected", _("the caller hung up")
        STOPPED = "stopped", _("ended by a shutdown")
        CANCELLED = "cancelled", _("ended by an operator")

    id = models.UUIDField(_("id"), primary_key=True)
    request_id = text(_("request id"), 128)
    upstream_id = text(_("the provider's request id"))
    trace_id = ExactCharField(
        _("trace id"),
        max_length=32,
        blank=True,
        default="",
        db_default="",  # For processes that do not know the column yet, while a site is updated.
        help_text=_("The W3C trace that the call belongs to, if its caller named one or calls are traced."),
    )
    started_at = models.DateTimeField(_("time"))

    project = text(_("project"))
    organization = text(_("organization"))
    end_user = text(_("end user"))
    experiment = text(_("experiment"))
    session = text(_("session"))
    agent = text(_("agent"))
    tags = models.JSONField(_("tags"), null=True)
    metadata = models.JSONField(_("metadata"), null=True)

    dialect = text(_("format"), 40)
    endpoint = ExactCharField(
        _("endpoint"), max_length=NAME, blank=True, default="", help_text=_("The path below /v1/.")
    )
    model = ExactCharField(_("requested model"), max_length=NAME, blank=True, default="")
    is_stream = models.BooleanField(_("streamed"), default=False)

    variant = ExactCharField(
        _("variant"),
        max_length=NAME,
        blank=True,
        default="",
        db_default="",  # For processes that do not know the column yet, while a site is updated.
        help_text=_("The route's experiment, and whether this call was part of it or served as ever."),
    )
    is_mirror = models.BooleanField(
        _("mirrored"),
        default=False,
        db_default=False,
        help_text=_("A copy of a call, sent to try a target. Nobody saw its answer."),
    )

    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome.choices)
    status = models.PositiveSmallIntegerField(_("status"), default=0, help_text=_("What the caller got; 0: nothing."))
    error_code = text(_("error"), 100)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    trail = models.JSONField(_("attempts in detail"), null=True)
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), default=0)
    first_byte_ms = models.PositiveIntegerField(_("time to the provider's first byte (ms)"), null=True)
    first_token_ms = models.PositiveIntegerField(_("time to the first token (ms)"), null=True)
    overhead_us = models.PositiveIntegerField(
        _("the gateway's own time (µs)"), default=0, help_text=_("From the request's arrival until it was sent on.")
    )
    queued_ms = models.PositiveIntegerField(
        _("waited for a place (ms)"), default=0, db_default=0, help_text=_("While the gateway was full.")
    )
    bytes_in = count(_("bytes of the request"))
    bytes_out = count(_("bytes of the answer"))

    units = models.JSONField(
        _("other units"),
        null=True,
        help_text=_("What is not counted in tokens: images, seconds, searches."),
    )
    service_tier = text(_("service tier"), 40)
    is_estimated = models.BooleanField(
        _("estimated"), default=False, help_text=_("Counted by the gateway, because the provider did not say.")
    )
    cost_nanos = models.BigIntegerField(_("cost in nano-dollars"), null=True)
    saved_nanos = models.BigIntegerField(
        _("saved in nano-dollars"),
        default=0,
        db_default=0,
        help_text=_("What an answer from the cache cost when a provider gave it."),
    )

    objects = UsageRecordQuerySet.as_manager()

    class Meta:
        verbose_name = _("usage record")
        verbose_name_plural = _("usage records")
        ordering: ClassVar[list[str]] = ["-id"]
        default_permissions = ("view",)
        permissions: ClassVar[list[tuple[str, Any]]] = [("cancel_call", _("Can end calls under way"))]
        indexes: ClassVar[list[models.Index]] = [
            # All begin with, or end in, the time: a query names a span, and old partitions are dropped whole.
            models.Index(fields=["started_at"], name="ai_gateway_usage_time"),
            models.Index(fields=["key", "started_at"], name="ai_gateway_usage_key"),
            models.Index(fields=["user", "started_at"], name="ai_gateway_usage_user"),
            models.Index(fields=["request_id"], name="ai_gateway_usage_request"),
            models.Index(fields=["session", "started_at"], name="ai_gateway_usage_session"),
        ]

    def __str__(self) -> str:
        return str(self.request_id)

    @property
    def cost(self) -> Decimal | None:
        """What it cost, in dollars; None if nobody knows."""
        return None if self.cost_nanos is None else dollars(self.cost_nanos)


class Live(UsageRecord):
    """A call that is under way, for the admin's index: there is no row of it yet (`live.py`)."""

    class Meta:
        proxy = True
        verbose_name = _("call under way")
        verbose_name_plural = _("calls under way")
        default_permissions = ()


class UsageDaily(Spent):
    """The sum of a day's records of one key, user, group, provider, model and route.

    A day is one of the accounting time zone (`AI_GATEWAY["TIME_ZONE"]`). `slot` is the digest of what is summed up
    together: the columns may be null, which no database takes for equal.
    """

    day = models.DateField(_("day"))
    slot = ExactCharField(max_length=32)

    requests = count(_("requests"))
    errors = count(_("errors"))
    limited = count(_("refused by a limit"))
    cached = count(_("answered from the cache"))
    estimated = count(_("estimated"))
    unpriced = count(_("without a price"))
    duration_ms = count(_("duration (ms)"))
    first_tokens = count(_("answers with a first token"))
    first_token_ms = count(_("time to the first token (ms)"))
    bytes_out = count(_("bytes of the answers"))
    cost_nanos = count(_("cost in nano-dollars"))
    saved_nanos = models.BigIntegerField(_("saved in nano-dollars"), default=0, db_default=0)

    objects = UsageDailyQuerySet.as_manager()

    class Meta:
        verbose_name = _("usage of a day")
        verbose_name_plural = _("usage by day")
        ordering: ClassVar[list[str]] = ["-day"]
        default_permissions = ("view",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["day", "slot"], name="ai_gateway_daily_once")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["key", "day"], name="ai_gateway_daily_key"),
            models.Index(fields=["user", "day"], name="ai_gateway_daily_user"),
            models.Index(fields=["group", "day"], name="ai_gateway_daily_group"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.provider}/{self.served_model}"

    @property
    def cost(self) -> Decimal:
        """What it cost, in dollars."""
        return dollars(self.cost_nanos)


for _name in histograms.COLUMNS:
    # For processes that do not know the columns yet, while a site is updated: the default of the database.
    UsageDaily.add_to_class(_name, models.BigIntegerField(_name.replace("_", " "), default=0, db_default=0))


class UsageLabelDaily(models.Model):
    """The sum of a day's calls with one label, of one key and user. See `labels.py` for what is told apart."""

    class Kind(models.TextChoices):
        """What a label says."""

        TAG = "tag", _("tag")
        SESSION = "session", _("session")
        AGENT = "agent", _("agent")
        PROJECT = "project", _("project")
        END_USER = "end_user", _("end user")

    day = models.DateField(_("day"))
    slot = ExactCharField(max_length=32)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    value = text(_("value"))
    key = reference(VirtualKey, _("key"))
    user = reference(site.AUTH_USER_MODEL, _("user"))

    requests = count(_("requests"))
    errors = count(_("errors"))
    unpriced = count(_("without a price"))
    tokens = count(_("tokens"))
    cost_nanos = count(_("cost in nano-dollars"))

    class Meta:
        verbose_name = _("usage of a label")
        verbose_name_plural = _("usage by label")
        default_permissions = ()
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["day", "slot"], name="ai_gateway_label_once")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["kind", "day"], name="ai_gateway_label_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.kind} {self.value}"


class Dashboard(UsageDaily):
    """The page that shows what was used: the admin lists it as it lists tables."""

    class Meta:
        proxy = True
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")
        default_permissions = ()
