"""Who can be asked. `catalog` holds the rows; a file beside it exists only where a provider behaves differently."""

from __future__ import annotations

from ai_gateway.providers.base import Auth, Credential, Provider
from ai_gateway.providers.catalog import CATALOG
from ai_gateway.providers.options import build_provider

__all__ = ["CATALOG", "Auth", "Credential", "Provider", "build_provider"]
