"""The gateway for the site’s own code."""
