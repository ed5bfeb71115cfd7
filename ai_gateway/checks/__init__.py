"""System checks: what is wrong with the settings, said before a caller finds out. `docs/checks.md` lists them all.

Every check has an id that stays the same (so that SILENCED_SYSTEM_CHECKS can name it) and a hint that says what to
write. An `E` breaks something; a `W` works, with a cost or a risk. Ids below 030 are about single keys of `AI_GATEWAY`,
those from 030 about what the values refer to, those from 060 about the site around the gateway, those from 080 about
what the database holds, those from 090 about limits and usage, those from 110 about overload, those from 120 about
breakers and peers, those from 131 about telemetry and recordings, those from 137 about alerts, those from 145 about the
cache of answers, those from 150 about guardrails. Importing this package registers the checks. Those of a deployment
run with `check --deploy` only: in development they would be in the way.

No message holds a value that could be a secret.
"""

from ai_gateway.checks import (
    alerts,
    caching,
    cors,
    database,
    deployment,
    guardrails,
    mysql,
    overload,
    peers,
    prices,
    providers,
    recordings,
    secrets,
    settings,
    telemetry,
    usage,
    wiring,
)

__all__ = [
    "alerts",
    "caching",
    "cors",
    "database",
    "deployment",
    "guardrails",
    "mysql",
    "overload",
    "peers",
    "prices",
    "providers",
    "recordings",
    "secrets",
    "settings",
    "telemetry",
    "usage",
    "wiring",
]
