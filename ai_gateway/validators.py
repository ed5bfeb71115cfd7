"""What may stand in the fields of the models, said in words for the people who fill them in."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from ai_gateway.calls import BaseURL
from ai_gateway.protocols import DIALECTS
from ai_gateway.providers.options import PHASES, read_timeouts

MAX_ITEMS = 200
MAX_ITEM_LENGTH = 200

validate_alias = RegexValidator(
    re.compile(r"\A[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?\Z"),
    _("Write small letters, digits, dots, dashes and underscores, with a letter or digit at both ends."),
    code="invalid_alias",
)
validate_model_name = RegexValidator(
    re.compile(r"\A[^\s\x00-\x1f\x7f]+\Z"), _("A model's name has no blanks in it."), code="invalid_model"
)


def validate_base_url(value: str) -> None:
    """Accept what `BaseURL` can parse."""
    try:
        BaseURL.parse(value)
    except ValueError as error:
        raise ValidationError(
            _("Write a URL such as https://api.example.com/v1. %(reason)s."),
            params={"reason": error},
            code="invalid_base_url",
        ) from error


def validate_names(value: Any) -> None:
    """Accept a list of short texts without blanks around them."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError(_('Write a list of texts, such as ["one", "two"].'), code="invalid_list")
    if len(value) > MAX_ITEMS or any(len(item) > MAX_ITEM_LENGTH for item in value):
        raise ValidationError(_("The list, or a text in it, is too long."), code="too_long")
    if any(not item or item != item.strip() or not item.isprintable() for item in value):
        raise ValidationError(_("A text in the list is empty, or has blanks around it."), code="blank")


def validate_networks(value: Any) -> None:
    """Accept a list of addresses and networks."""
    validate_names(value)
    for item in value:
        try:
            ip_network(item)
        except ValueError as error:
            raise ValidationError(
                _("%(item)s is no address and no network. Write for example 192.0.2.0/24 or 2001:db8::/32."),
                params={"item": item},
                code="invalid_network",
            ) from error


def validate_dialects(value: Any) -> None:
    """Accept a list of wire formats."""
    validate_names(value)
    known = sorted(dialect.name for dialect in DIALECTS.values() if dialect.is_generation)
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ValidationError(
            _("There is no wire format %(name)s. Known are: %(known)s."),
            params={"name": unknown[0], "known": ", ".join(known)},
            code="unknown_dialect",
        )


def validate_mapping(value: Any) -> None:
    """Accept a JSON object."""
    if not isinstance(value, dict):
        raise ValidationError(_('Write a JSON object, such as {"name": "value"}.'), code="invalid_object")


def validate_metadata(value: Any) -> None:
    """Accept a JSON object of short texts, numbers and flags."""
    validate_mapping(value)
    if len(value) > MAX_ITEMS or any(
        len(key) > MAX_ITEM_LENGTH or not isinstance(item, str | int | float | bool) or len(str(item)) > 1000
        for key, item in value.items()
    ):
        raise ValidationError(_("Write short texts, numbers, true or false, and no more than 200 of them."))


def validate_timeouts(value: Any) -> None:
    """Accept seconds by phase."""
    try:
        read_timeouts(value)
    except TypeError as error:
        raise ValidationError(
            _("Write seconds by phase. The phases are: %(phases)s."),
            params={"phases": ", ".join(PHASES)},
            code="invalid_timeouts",
        ) from error
    except ValueError as error:
        raise ValidationError(_("Write numbers of seconds above 0."), code="invalid_timeouts") from error
