"""The configuration of LiteLLM's that the page shows is read as it says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ai_gateway import litellm

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migrating-litellm.md").read_text(encoding="utf-8")


def test_the_example_is_taken_over_but_for_what_the_page_names() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)
    done = litellm.convert(yaml.safe_load(example))
    assert set(done.routes) == {"gpt-4o", "gpt-4", "claude"}
    assert [target["provider"] for target in done.routes["claude"]["targets"]] == ["anthropic", "openai", "azure"]
    assert done.limits["max_budget"]["window"] == "month"
    assert len(done.notes) == 2
    for note in done.notes:
        assert note in PAGE
