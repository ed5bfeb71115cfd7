"""`python -m tests.docs.elsewhere FOLDER COMMANDS`: run commands of the `manage.py` of a site in another folder, one
after the other, given as lists in JSON. A module, for the nursery to start; one process, because that is faster.
"""

from __future__ import annotations

import json
import os
import runpy
import sys


def main() -> None:
    """Go there, and do as `python manage.py` does."""
    folder, commands = sys.argv[1:]
    os.chdir(folder)
    sys.path.insert(0, folder)
    for arguments in json.loads(commands):
        sys.argv = ["manage.py", *arguments]
        runpy.run_path("manage.py", run_name="__main__")


if __name__ == "__main__":
    main()
