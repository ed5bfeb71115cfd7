"""What the gateway reads of the environment, for the tests that compare it with what is documented."""

from __future__ import annotations

from ai_gateway.environment import REMOTE, VARIABLES, provider_variables


def variable_names() -> list[str]:
    """List every environment variable that `from_environ` looks at."""
    return [*VARIABLES, *(name for alias in REMOTE for name in provider_variables(alias))]
