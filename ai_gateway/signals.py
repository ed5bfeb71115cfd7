"""Signals of the gateway, for a site that wants to know what happens without asking for it.

Nothing is sent on the path of a call: receivers run in the thread of the gateway that found out, one after the other,
and may use the database. One that is slow holds up what this thread does besides; one that fails is logged by Django.
"""

from __future__ import annotations

from django.dispatch import Signal

call_finished = Signal(use_caching=True)
"""A finished call was written down, and is committed. Sent once for each, in the ledger's thread. `sender` is the class
`ai_gateway.meter.Entry`, `entry` the entry: the columns of `UsageRecord` in plain values. Receivers must not change it.
"""

calls_finished = Signal(use_caching=True)
"""Some finished calls were written down in one transaction: for receivers that do better with many at once. Sent in the
ledger's thread, before `call_finished`, with the same `sender`. `entries` are theirs, in the order in which they ended.
"""

process_ends = Signal()
"""The process is about to end, and all its calls are written down: what a receiver still holds has to go now. Sent once
by a server that speaks ASGI's lifespan protocol, and that waits for the receivers. `sender` is None.
"""

limit_warning = Signal()
"""A counter has come to where its limit wants a warning (`soft_percent`, or a limit that only warns and is used up).
Sent once for each counter: of a budget once in its period, of a rate once in a minute; by each process for itself.
`sender` is the class `ai_gateway.allowances.LimitRule`, `rule` the limit, `used` what is used of it in its unit
(requests, tokens, nano-dollars, calls), `caller` who came to it."""

limit_reached = Signal()
"""A limit has refused a call. Sent as often as `limit_warning`, with `rule` and `caller`."""

breaker_opened = Signal()
"""A target fails so often that it is asked last for a while. Sent by the process that found out, in the thread of the
notices. `sender` is the class `ai_gateway.breakers.Breaker`, `target` the provider and its model, `reason` why, in
English, `seconds` for how long, `at` when (Unix time). It is sent again when the probe after that time fails."""

breaker_closed = Signal()
"""A target is asked in its turn again: a call did well, or somebody said so. Sent as `breaker_opened` is, with
`seconds` 0."""

guardrail_acted = Signal()
"""A guardrail blocked or changed something, would have if it were not only there to watch, or failed. Sent in the
thread of the notices, for each call once of what is the same. `sender` is the class
`ai_gateway.guardrails.base.Guardrail`, `name` the guardrail, `stage` "request" or "answer", `action` "blocked",
"changed", "monitored" or "failed", `reason` why, `request_id` the call, `caller` who made it. What was found is not
told."""
