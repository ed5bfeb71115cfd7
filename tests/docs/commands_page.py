"""docs/commands.md: every management command, of what its parser says."""

from __future__ import annotations

from argparse import Action, ArgumentParser, _SubParsersAction
from pathlib import Path

from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from ai_gateway.management import commands
from tests.docs.tables import code, paragraphs, table

HEAD = """# Commands

What `python manage.py` has for the gateway. Each command has Django's own options as well (`--settings`, `--verbosity`,
...), and says all this with `--help`. Exit codes: 0 for yes, 1 for no or a failure, 2 for a command line that cannot be
read.

"""

NAMES = sorted(file.stem for file in Path(commands.__path__[0]).glob("*.py") if file.stem != "__init__")
DJANGOS = {action.dest for action in BaseCommand().create_parser("manage.py", "any")._actions}


def write() -> str:
    """Write the page."""
    return HEAD + "\n".join(map(section, NAMES))


def section(name: str) -> str:
    """Write what there is to say of a command."""
    command = load_command_class("ai_gateway", name)
    parser = command.create_parser("manage.py", name)
    return f"## `{name}`\n\n{paragraphs(command.help)}\n" + options(parser, name)


def options(parser: ArgumentParser, name: str) -> str:
    """Write the options of a command, and below them those of each thing that it can do."""
    own = [action for action in parser._actions if action.dest not in DJANGOS]
    plain = [action for action in own if not isinstance(action, _SubParsersAction)]
    text = "\n" + table(("Argument", "Meaning"), *map(row, plain)) if plain else ""
    for action in own:
        if isinstance(action, _SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for word, below in action.choices.items():
                text += f"\n### `{name} {word}`\n\n{sentence(helps.get(word, ''))}\n" + options(below, f"{name} {word}")
    return text


def sentence(text: str) -> str:
    """Write a help text as a sentence."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def row(action: Action) -> tuple[str, str]:
    """Write one option or argument."""
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    if action.option_strings and action.nargs != 0:
        given = (
            "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.metavar or action.dest.upper()
        )
        names += f" {given}"
    help = (action.help or "") % {"default": action.default, "prog": "manage.py"}
    return code(names), help + (" (required)" if action.required and action.option_strings else "")
