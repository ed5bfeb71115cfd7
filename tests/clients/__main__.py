"""Try every client there is, and write down what was seen: `python -m tests.clients`.

Arguments are pytest's, such as `-k LangChain`: what was tried is written, and the rest of the tables stays as it was.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    """Run the tests; give their exit code."""
    # What a run is of is read when the tests are imported.
    os.environ["GATEWAY_CLIENTS"] = "all"
    os.environ.setdefault("GATEWAY_EFFORT", "2")
    import pytest

    from tests.clients import matrix

    return pytest.main(["-q", "-n", "0", "tests/clients", *arguments], plugins=[matrix.Recorder(matrix.write)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
