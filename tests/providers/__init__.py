"""Providers: what they write of a call, and what the built-in one answers."""
