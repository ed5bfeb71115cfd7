"""Realtime sessions as the door sees them."""
