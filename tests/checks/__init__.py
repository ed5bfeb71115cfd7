"""The system checks, each with what triggers it: one file for each module of `ai_gateway/checks`."""
