"""Counters in the site's database.

store     the store: takes charges in one short transaction
rows      how counters and reservations are read and written
clerk     what no call waits for: settling, renewing, sweeping
clock     the database's clock, for all hosts
"""

from ai_gateway.limits.database.store import DatabaseStore

__all__ = ["DatabaseStore"]
