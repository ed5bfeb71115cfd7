"""The headers by which callers tell what a call belongs to, and the columns that keep what they say."""

from __future__ import annotations

TRACKED = {
    b"x-project-id": "project",
    b"x-organization-id": "organization",
    b"x-organisation-id": "organization",
    b"x-user-id": "end_user",
    b"x-experiment-id": "experiment",
    # Claude Code's own header, and what other coding agents have (Codex: `session_id`).
    b"x-claude-code-session-id": "session",
    b"x-session-id": "session",
    b"session-id": "session",
    b"session_id": "session",
    b"x-claude-code-agent-id": "agent",
    b"x-agent-id": "agent",
}
"""The columns by the headers, in small letters."""
