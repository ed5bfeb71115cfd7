"""Real clients, headless: SDKs of other languages and coding agents, through a gateway to scripted models."""

import pytest

pytest.register_assert_rewrite("tests.clients.errand", "tests.clients.fruit", "tests.clients.sandbox")
