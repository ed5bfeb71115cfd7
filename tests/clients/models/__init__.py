"""Scripted models: each speaks one provider's format, and is as strict about requests as that provider."""
