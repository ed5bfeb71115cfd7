"""The errand that every agent is sent on: write a file, look at it in two ways at once, and tell what was seen."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from shlex import quote
from typing import Any

from tests.clients.models.model import Model
from tests.clients.models.turns import Call, Json, Seen, Turn

PROMPT = "Write a file about fruit and tell me its size."
FOLLOW_UP = "And which fruit was it?"
FILE = "fruit.txt"
CONTENT = 'A "pear", ünd\n\ttwo figs\n'
"""What is written: characters that JSON escapes, and some that are several bytes long."""
SIZE = str(len(CONTENT.encode()))
THOUGHTS = ("The file comes first.\nThen its size.", "Both at once.")
ANNOUNCEMENT = "I will write the file."
COUNTING = f"wc -c < {FILE}"
APPLY = "text(await tools.apply_patch({patch}));"
EXECUTE = "const done = await tools.exec_command({{cmd: {command}}});\ntext(done.output);"
"""Programs for an agent whose tool runs programs, which have the other tools at hand."""
PATCH = "*** Begin Patch\n*** Add File: {file}\n{lines}*** End Patch\n"

DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
"""A red dot as a PNG."""


class Errand:
    """The brain of a model that sends an agent on the errand, by whichever tools the agent offers."""

    def __init__(self, folder: Path) -> None:
        self._path = str(folder / FILE)

    def __call__(self, seen: Seen) -> Turn:
        if not seen.tools:
            return Turn(text="Fruit")
        if any(FOLLOW_UP in prompt for prompt in seen.prompts):
            return Turn(text="It was a pear.")
        if not seen.calls:
            return Turn(thinking=THOUGHTS[0], text=ANNOUNCEMENT, calls=(self._write(seen.tools),))
        if len(seen.calls) == 1:
            return Turn(thinking=THOUGHTS[1], calls=(self._shell(seen.tools, COUNTING), self._read(seen.tools)))
        return Turn(text="The tools said: " + " / ".join(result.text for result in seen.results))

    def _write(self, tools: dict[str, Json]) -> Call:
        lines = "".join(f"+{line}\n" for line in CONTENT.splitlines())
        patch = PATCH.format(file=FILE, lines=lines)
        if name := offered(tools, "apply_patch"):
            return Call(name=name, arguments=free_text(tools[name], patch))
        if name := offered(tools, "exec"):
            return Call(name=name, arguments=free_text(tools[name], APPLY.format(patch=json.dumps(patch))))
        if name := offered(tools, "Write", "write_file", "write"):
            return Call(name=name, arguments={path_argument(tools[name]): self._path, "content": CONTENT})
        return self._shell(tools, f"printf %s {quote(CONTENT)} > {FILE}")

    def _read(self, tools: dict[str, Json]) -> Call:
        if name := offered(tools, "Read", "read_file", "read"):
            return Call(name=name, arguments={path_argument(tools[name]): self._path})
        return self._shell(tools, f"cat {FILE}")

    def _shell(self, tools: dict[str, Json], command: str) -> Call:
        if name := offered(tools, "exec"):
            return Call(name=name, arguments=free_text(tools[name], EXECUTE.format(command=json.dumps(command))))
        if name := offered(tools, "exec_command"):
            return Call(name=name, arguments={"cmd": command})
        name = offered(tools, "Bash", "run_shell_command", "bash", "shell")
        if "is_background" in tools[name]["properties"]:
            # Qwen Code may miss the output of a command that ends at once.
            return Call(name=name, arguments={"command": f"{command}; sleep 0.5", "is_background": False})
        more = {"description": "Counts"} if "description" in tools[name].get("required", ()) else {}
        return Call(name=name, arguments={"command": command, **more})


def path_argument(schema: Json) -> str:
    """Give what a tool calls the path of a file."""
    return next(name for name in ("file_path", "filePath", "path") if name in schema["properties"])


def offered(tools: dict[str, Json], *names: str) -> str:
    """Give the first of these tools that the agent offers, whatever namespace it is in; "" if it offers none."""
    return next((tool for tool in tools for name in names if tool == name or tool.endswith(f"__{name}")), "")


def free_text(schema: Json, text: str) -> Any:
    """Write the arguments of a tool that takes free text, or a schema with one string in its place."""
    if not schema:
        return text
    (name,) = schema["properties"]
    return {name: text}


def check(model: Model, folder: Path, *, carries: bool = True, is_over: bool = False) -> None:
    """Check that the errand was done, and that the model saw its own words again and what the tools said.

    The model's reasoning must have come back while tools are running, if the client `carries` it at all. When the
    errand `is_over`, it may be left out.
    """
    assert (folder / FILE).read_text() == CONTENT
    last = model.last
    assert [(call.name, call.arguments) for call in last.calls] == [(call.name, call.arguments) for call in model.calls]
    assert [call.id for call in last.calls] == model.call_ids
    answers = [text for _, text in last.pairs.values()]
    assert len(answers) == 3
    assert SIZE in answers[1]
    assert all(line.strip() in answers[2].replace("\\t", "\t") for line in CONTENT.splitlines())
    if carries and not (is_over and not last.reasoning):
        assert last.reasoning == model.states
