"""A stand-alone gateway: a Django project of its own, configured by environment variables."""
