"""The gateway's own names of models, where they lead, and for whom."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings as site
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from ai_gateway import validators
from ai_gateway.conditions import read_conditions
from ai_gateway.conf import settings
from ai_gateway.exact_text import ExactCharField
from ai_gateway.models import base
from ai_gateway.models.base import LIMIT_OF_A_NAME, NamesField, TimeStamped, fill_empty
from ai_gateway.models.providers import Provider
from ai_gateway.providers import CATALOG


class Route(TimeStamped):
    """A model name of the gateway's own, and where it leads."""

    class Strategy(models.TextChoices):
        """In which order the targets are tried."""

        FAILOVER = "failover", _("in order: the next one if the one before fails")
        WEIGHTED = "weighted", _("at random, in proportion to their weights")
        ROUND_ROBIN = "round_robin", _("each in its turn")
        LEAST_BUSY = "least_busy", _("who has the fewest calls under way")
        LOWEST_LATENCY = "lowest_latency", _("who is fastest with the first token")
        CHEAPEST = "cheapest", _("who is cheapest")

    class Sticky(models.TextChoices):
        """What keeps calls together with one target."""

        NONE = "", _("nothing")
        SESSION = "session", _("their session, or their end user")
        PREFIX = "prefix", _("how their prompts begin")

    class Replay(models.TextChoices):
        """How a stream out of the cache is given again."""

        AS_SET = "", _("as the settings say")
        AT_ONCE = "at-once", _("at once")
        PACED = "paced", _("at the pace at which it came")

    name = ExactCharField(
        _("name"),
        max_length=LIMIT_OF_A_NAME,
        unique=True,
        validators=[validators.validate_model_name],
        help_text=_("What callers write as the model."),
    )
    description = ExactCharField(_("description"), max_length=500, blank=True)
    strategy = models.CharField(
        _("strategy"), max_length=20, choices=Strategy.choices, default=Strategy.FAILOVER, help_text=_("Who is asked.")
    )
    sticky = models.CharField(
        _("kept together by"),
        max_length=20,
        choices=Sticky.choices,
        blank=True,
        default=Sticky.NONE,
        help_text=_("Calls that are kept together go to one target, whose cache of prompts stays warm."),
    )
    timeouts = models.JSONField(
        _("timeouts"),
        default=dict,
        blank=True,
        validators=[validators.validate_timeouts],
        help_text=_('Seconds by phase, for example {"first_byte": 20}. What is missing is the provider\'s.'),
    )
    continues_streams = models.BooleanField(
        _("continue streams"),
        default=False,
        help_text=_("Whether a stream that dies in mid-text goes on with the next target. Both are paid for."),
    )
    asks_to_continue = models.BooleanField(
        _("ask to continue"),
        default=False,
        help_text=_("Whether models that do not go on with the beginning of an answer by themselves are asked to."),
    )
    records_bodies = base.records_bodies()
    guardrails = base.guardrails()
    caching = base.caching()
    cache_seconds = models.PositiveIntegerField(
        _("kept for (s)"), null=True, blank=True, help_text=_("How long an answer is kept. Empty: as the settings say.")
    )
    cache_replay = models.CharField(
        _("streams again"),
        max_length=10,
        choices=Replay.choices,
        blank=True,
        default=Replay.AS_SET,
        db_default="",
        help_text=_("How a stream that was kept is given again, if its caller does not say."),
    )
    experiment = ExactCharField(
        _("experiment"),
        max_length=LIMIT_OF_A_NAME,
        blank=True,
        help_text=_(
            "Its name, for reports. The targets whose part is the experiment get their percentage of the calls."
        ),
    )
    tags = NamesField(verbose_name=_("tags"), help_text=_("For reports and policies."))
    is_public = models.BooleanField(
        _("open to everybody"),
        default=True,
        help_text=_("Whether every caller may use it. If not, only the users and groups below, and who may use all."),
    )
    users = models.ManyToManyField(
        site.AUTH_USER_MODEL, blank=True, related_name="+", verbose_name=_("users"), help_text=_("Who may use it.")
    )
    groups = models.ManyToManyField(
        Group, blank=True, related_name="+", verbose_name=_("groups"), help_text=_("Whose members may use it.")
    )
    is_enabled = models.BooleanField(_("enabled"), default=True, help_text=_("Switched off, it does not exist."))

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering: ClassVar[list[str]] = ["name"]
        permissions: ClassVar[list[tuple[str, Any]]] = [("use_route", _("Can use every route, open or not"))]

    def __str__(self) -> str:
        return self.name


class RouteTarget(models.Model):
    """One of the places that a route leads to."""

    class Part(models.TextChoices):
        """What a target is there for."""

        SERVE = "serve", _("answers calls")
        EXPERIMENT = "experiment", _("answers its percentage of the calls, as an experiment")
        MIRROR = "mirror", _("gets a copy of its percentage of the calls, and nobody sees its answers")

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="targets", verbose_name=_("route"))
    position = models.PositiveSmallIntegerField(_("position"), default=0, help_text=_("Lower ones are tried first."))
    provider = ExactCharField(
        _("provider"),
        max_length=LIMIT_OF_A_NAME,
        validators=[validators.validate_alias],
        help_text=_("The alias of a provider: one of the database, of the settings, or of the catalogue."),
    )
    model = ExactCharField(
        _("model"),
        max_length=LIMIT_OF_A_NAME,
        validators=[validators.validate_model_name],
        help_text=_("The provider's own name of the model."),
    )
    weight = models.PositiveSmallIntegerField(
        _("weight"),
        default=1,
        validators=[MinValueValidator(1)],
        help_text=_("Its share of the calls, if the strategy goes by weight."),
    )
    part = models.CharField(
        _("part"), max_length=20, choices=Part.choices, default=Part.SERVE, help_text=_("What it is there for.")
    )
    percent = models.PositiveSmallIntegerField(
        _("percentage"),
        default=0,
        validators=[MaxValueValidator(100)],
        help_text=_("Of the calls, for an experiment or a copy."),
    )
    conditions = models.JSONField(
        _("conditions"),
        default=dict,
        blank=True,
        validators=[validators.validate_mapping],
        help_text=_('Which calls it is there for, for example {"images": true}. Empty: all.'),
    )
    timeouts = models.JSONField(
        _("timeouts"),
        default=dict,
        blank=True,
        validators=[validators.validate_timeouts],
        help_text=_("Seconds by phase, over those of the route."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("target")
        verbose_name_plural = _("targets")
        ordering: ClassVar[list[str]] = ["route", "position", "pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["route", "provider", "model"],
                name="ai_gateway_target_once",
                violation_error_message=_("This route has that target already."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"

    def clean(self) -> None:
        """Check that there is such a provider, and that the conditions can be read. Raises ValidationError."""
        fill_empty(self)
        self.provider = self.provider.lower()
        if self.provider not in known_aliases():
            message = _("There is no provider %(alias)s. Add it first, or write the alias of another one.")
            raise ValidationError({"provider": message % {"alias": self.provider}})
        try:
            read_conditions(self.conditions)
        except ValueError as error:
            raise ValidationError({"conditions": str(error)}) from error


def known_aliases() -> set[str]:
    """The names that lead to a provider: of the catalogue, the settings and the database."""
    return {*CATALOG, *map(str.lower, settings.PROVIDERS), *Provider.objects.values_list("alias", flat=True)}
