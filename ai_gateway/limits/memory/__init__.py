"""Counters in this process.

store     the store
counter   one counter
"""

from ai_gateway.limits.memory.store import MemoryStore

__all__ = ["MemoryStore"]
