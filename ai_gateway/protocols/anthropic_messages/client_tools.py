"""Tools that Anthropic knows by their type and a client runs: what their arguments are.

Anthropic's models are trained on them, so a request names no schema. Another provider's model has to be told. The call
comes back as a call of the same name, which is all that a client looks at.

Sources: "Bash tool", "Text editor tool", "Computer use tool" and "Memory tool" of Anthropic's documentation.
"""

from __future__ import annotations

import re
from typing import Any

_COMPUTER = re.compile(r"computer_[0-9]{8}")
"""The type of the tool with all actions in one; a toolset, which has one tool for each, is another thing."""

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_PAIR = {"type": "array", "items": _INTEGER, "minItems": 2, "maxItems": 2}


def _described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


def _object(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


_PATH = _described(_STRING, "Absolute path of the file or directory.")
_LINES = _described(_PAIR, "For view: the first and last line to show, from 1; a last line of -1 is the end.")

BASH = _object(
    [],
    command=_described(_STRING, "The command to run. Required unless restart is true."),
    restart={"type": "boolean", "description": "Whether to restart the shell instead."},
)

_EDITOR_MEMBERS = {
    "path": _PATH,
    "file_text": _described(_STRING, "For create: the content of the file."),
    "old_str": _described(_STRING, "For str_replace: the text to replace, which must occur exactly once."),
    "new_str": _described(_STRING, "For str_replace: the text to put in its place. For insert: the text to insert."),
    "insert_line": _described(_INTEGER, "For insert: the line after which to insert, 0 for the beginning."),
    "insert_text": _described(_STRING, "For insert: the text to insert."),
    "view_range": _LINES,
}


def _commands(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(names), "description": "What to do."}


EDITOR = _object(["command", "path"], command=_commands("view", "create", "str_replace", "insert"), **_EDITOR_MEMBERS)

EDITOR_WITH_UNDO = _object(
    ["command", "path"], command=_commands("view", "create", "str_replace", "insert", "undo_edit"), **_EDITOR_MEMBERS
)

MEMORY = _object(
    ["command"],
    command=_commands("view", "create", "str_replace", "insert", "delete", "rename"),
    path=_described(_STRING, "Path below /memories. Required for all commands but rename."),
    file_text=_EDITOR_MEMBERS["file_text"],
    old_str=_EDITOR_MEMBERS["old_str"],
    new_str=_described(_STRING, "For str_replace: the text to put in its place."),
    insert_line=_EDITOR_MEMBERS["insert_line"],
    insert_text=_EDITOR_MEMBERS["insert_text"],
    view_range=_LINES,
    old_path=_described(_STRING, "For rename: the path to rename."),
    new_path=_described(_STRING, "For rename: what it is called then."),
)

_FIRST_ACTIONS = ["key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click"]
_FIRST_ACTIONS += ["double_click", "screenshot", "cursor_position"]
_LATER_ACTIONS = ["left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait", "triple_click"]


def _computer(tool: dict[str, Any], actions: list[str]) -> dict[str, Any]:
    zoom = ["zoom"] if tool.get("enable_zoom") is True else []
    members: dict[str, dict[str, Any]] = {
        "action": _commands(*actions, *zoom),
        "coordinate": _described(_PAIR, "The x and y of a place on the screen, in pixels from the top left."),
        "text": _described(_STRING, "The text to type, or the key or key combination to press or hold."),
    }
    if actions is not _FIRST_ACTIONS:
        members |= {
            "start_coordinate": _described(_PAIR, "For left_click_drag: where it begins."),
            "scroll_direction": {"type": "string", "enum": ["up", "down", "left", "right"]},
            "scroll_amount": _described(_INTEGER, "For scroll: by how many clicks of the wheel."),
            "duration": {"type": "number", "description": "For hold_key and wait: how many seconds."},
        }
    if zoom:
        members["region"] = {"type": "array", "items": _INTEGER, "description": "For zoom: x0, y0, x1, y1."}
    return _object(["action"], **members)


def _screen(tool: dict[str, Any]) -> str:
    width, height = tool.get("display_width_px"), tool.get("display_height_px")
    return f"Control a computer by mouse and keyboard, and take screenshots. The screen has {width}x{height} pixels."


def known_tool(tool: dict[str, Any], type: str) -> tuple[str, dict[str, Any]] | None:
    """Give the description and the schema of a tool that a client runs; None for any other tool."""
    if type.startswith("bash_"):
        return "Run commands in a persistent bash shell.", BASH
    if type.startswith("text_editor_"):
        # The later editors, which are called str_replace_based_edit_tool, have no undo_edit.
        has_undo = tool.get("name") == "str_replace_editor"
        return "View, create and edit text files.", EDITOR_WITH_UNDO if has_undo else EDITOR
    if type.startswith("memory_"):
        return "Keep notes that outlast the conversation, as files below /memories.", MEMORY
    if _COMPUTER.fullmatch(type):
        actions = _FIRST_ACTIONS if type == "computer_20241022" else _FIRST_ACTIONS + _LATER_ACTIONS
        return _screen(tool), _computer(tool, actions)
    return None
