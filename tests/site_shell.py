"""Another process of the same site, in which a test does what people do in the admin: it changes rows."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from typing import Any

from tests import nursery


class SiteShell:
    """Runs Python in a process with the site's settings, and gives what it assigned to `result`."""

    def __init__(self, environment: dict[str, str]) -> None:
        questions, asked = os.pipe()
        answers, answered = os.pipe()
        self._asked, self._answers = open(asked, "w"), open(answers)  # noqa: SIM115
        with open(questions) as stdin, open(answered, "w") as output:
            assert sys.__stderr__ is not None
            self._process = nursery.start(["tests.site_shell"], environment, stdin, output, sys.__stderr__)

    def run(self, code: str, **values: Any) -> Any:
        """Run code, with these values as variables."""
        self._asked.write(json.dumps([code, values]) + "\n")
        self._asked.flush()
        result, error = json.loads(self._answers.readline())
        assert not error, error
        return result

    def command(self, name: str, *arguments: str) -> str:
        """Run a management command, and give the last line that it printed."""
        code = "out = io.StringIO(); call_command(name, *arguments, stdout=out, stderr=out); result = out.getvalue()"
        return str(self.run(code, name=name, arguments=arguments)).strip().rpartition("\n")[2]

    def close(self) -> None:
        """End the process."""
        self._asked.close()
        self._process.wait(10)
        self._answers.close()


def main() -> None:
    """Serve a test that writes to the standard input."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connections

    from ai_gateway import models
    from tests.control import rows

    names = {"User": get_user_model(), "call_command": call_command, "io": io, **vars(models), **vars(rows)}
    for line in sys.stdin:
        code, values = json.loads(line)
        for connection in connections.all():
            if getattr(connection, "pool", None):
                connection.close_pool()  # type: ignore[attr-defined]  # The database may be another since.
        scope, error = {**names, **values}, ""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, scope)
        except Exception:
            error = traceback.format_exc()
        connections.close_all()
        print(json.dumps([scope.get("result"), error]), flush=True)


if __name__ == "__main__":
    main()
