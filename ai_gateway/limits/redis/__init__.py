"""Counters in Redis. Needs the package `redis`: `django-ai-gateway[redis]`.

From the bottom up: `script.py` is what Redis does, `batches.py` how it is asked, `client.py` the connection, `link.py`
batches over it, `line.py` what an event loop sends, and `store.py` the store.
"""

from ai_gateway.limits.redis.store import RedisStore

__all__ = ["RedisStore"]
