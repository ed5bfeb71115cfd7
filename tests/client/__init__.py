"""The gateway for code of the site, in its own process."""
