"""A site whose users are of its own making: no groups, no permissions, and a UUID for a key."""
