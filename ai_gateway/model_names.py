"""By which names may a model's price be listed? Providers add to a name what does not change the price.

From the most exact name to the most general one: as it was served; without the path that Gemini, Vertex and Fireworks
put in front, or the ARN of Bedrock; without Bedrock's region; a fine-tuned model without its owner (it never becomes
its base model, which costs less); without Bedrock's version; without the date of a release.
"""

from __future__ import annotations

import re

_REDUCTIONS = (
    re.compile(r"^(?:arn:.*/|(?:.*/)?models/)(?=.)"),
    re.compile(r"^(?:us|eu|apac|jp|au|ca|us-gov|global)\.(?=[a-z0-9-]+\.)"),
    re.compile(r"(?<=^ft:)([^:]+):.*$"),
    re.compile(r"-v\d+:\d+$"),
    re.compile(r"[-@]20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])$"),
)
"""What is left out, in this order. A group is what stays of it."""


def names_of(model: str) -> tuple[str, ...]:
    """Give the names of a model in lower case, the most exact one first, each once."""
    name = model.strip().lower()
    names = [name]
    for pattern in _REDUCTIONS:
        name = pattern.sub(r"\1" if pattern.groups else "", name)
        if name and name != names[-1]:
            names.append(name)
    return tuple(names)
