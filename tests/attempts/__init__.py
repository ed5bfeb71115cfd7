"""Trying targets, judging answers, choosing headers."""
