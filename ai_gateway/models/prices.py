"""What models cost."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ai_gateway import validators
from ai_gateway.exact_text import ExactCharField
from ai_gateway.models.base import LIMIT_OF_A_NAME, TimeStamped, is_right
from ai_gateway.pricing import BUCKETS, read_price


def per_million(name: Any, help_text: Any = "") -> models.DecimalField[Any, Any]:
    """A price in dollars for a million tokens; empty where there is none of its own."""
    return models.DecimalField(
        name,
        max_digits=18,
        decimal_places=8,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=help_text,
    )


class Price(TimeStamped):
    """What some models cost from one time to another, in dollars for a million tokens.

    Which row counts for a call is said in `pricing.py`: what a person entered wins over what was synchronised, then the
    most particular row. What a bucket without a price of its own costs is said in `price_columns.py`.
    """

    class Source(models.TextChoices):
        """Where a row comes from."""

        MANUAL = "manual", _("entered here")
        SYNCED = "synced", _("synchronised")

    provider = ExactCharField(
        _("provider"),
        max_length=LIMIT_OF_A_NAME,
        default="*",
        help_text=_("An alias, with * for anything."),
    )
    model = ExactCharField(
        _("model"),
        max_length=LIMIT_OF_A_NAME,
        help_text=_("The provider's own name of the model, with * for anything."),
    )
    valid_from = models.DateTimeField(_("valid from"), default=timezone.now)
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True, help_text=_("Empty: for ever."))

    input = per_million(_("input"), _("Dollars for a million tokens. Write 0 for what is free."))
    cache_read = per_million(_("read from the cache"))
    cache_write = per_million(_("written to the cache"))
    cache_write_1h = per_million(_("written to the cache for an hour"))
    output = per_million(_("output"))
    reasoning = per_million(_("reasoning"))
    input_audio = per_million(_("audio heard"))
    input_image = per_million(_("images seen"))
    output_audio = per_million(_("audio spoken"))
    output_image = per_million(_("images drawn"))
    request = models.DecimalField(
        _("request"),
        max_digits=18,
        decimal_places=9,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=_("Dollars for a call, whatever it uses."),
    )
    units = models.JSONField(
        _("other units"),
        default=dict,
        blank=True,
        validators=[validators.validate_mapping],
        help_text=_('Dollars a piece: {"images": 0.04, "audio_seconds": 0.0001, "searches": 0.01}.'),
    )
    tiers = models.JSONField(
        _("long contexts"),
        default=list,
        blank=True,
        help_text=_('Other prices from a number of input tokens on: [{"above": 200000, "input": 6, "output": 22.5}].'),
    )
    service_tiers = models.JSONField(
        _("service tiers"),
        default=dict,
        blank=True,
        validators=[validators.validate_mapping],
        help_text=_('Other prices, or a factor, by tier: {"batch": 0.5, "priority": {"input": 5, "output": 30}}.'),
    )
    source = models.CharField(_("source"), max_length=20, choices=Source.choices, default=Source.MANUAL, editable=False)
    note = ExactCharField(_("note"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        ordering: ClassVar[list[str]] = ["provider", "model", "-valid_from"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="ai_gateway_price_span",
                violation_error_message=_("It must be valid until a later time than it is valid from."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"

    def clean(self) -> None:
        """Read the price, each column by itself so that each is told what is wrong with it. Raises ValidationError."""
        super().clean()
        if not is_right(self):
            return  # Each field says what is wrong with it.
        columns = self.columns()
        if not columns:
            raise ValidationError(_("Write what it costs, 0 for what is free."), code="invalid_price")
        problems: dict[str, ValidationError] = {}
        for name, value in columns.items():
            try:
                read_price({name: value})
            except ValueError as error:
                problems[name] = ValidationError(str(error), code="invalid_price")
        if problems:
            raise ValidationError(problems)

    def columns(self) -> dict[str, Any]:
        """Write it as the entry of `AI_GATEWAY["PRICES"]` that says the same."""
        names = (*BUCKETS, "request", "units", "tiers", "service_tiers")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None and value != {} and value != []}
