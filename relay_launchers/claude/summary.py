"""What a tool call of Claude Code is about, in one line for the person who decides on it.

Pure. A line has no line breaks, control or direction characters: what a person reads is what runs.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

# What identifies a call of the common tools; of the others all of the input is shown.
_TELLING: Final = {
    "Bash": "command",
    "Monitor": "command",
    "Edit": "file_path",
    "Write": "file_path",
    "NotebookEdit": "notebook_path",
    "WebFetch": "url",
    "WebSearch": "query",
    "Agent": "prompt",
    "Task": "prompt",
    "Skill": "skill",
    "ExitPlanMode": "plan",
}
_LONGEST: Final = 2000


def summarize(tool: str, tool_input: Mapping[str, Any], agent_type: str | None = None) -> str:
    """One line; `agent_type` when a sub-agent wants the call."""
    telling = tool_input.get(_TELLING.get(tool, ""))
    if isinstance(telling, str):
        said = f"{telling} (in the background)" if tool_input.get("run_in_background") else telling
    else:
        said = json.dumps(tool_input, ensure_ascii=False) if tool_input else tool
    shown = _line(said)
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]} [and {len(shown) - _LONGEST} characters more]"
    return f"{shown} (sub-agent {_line(str(agent_type))[:100]})" if agent_type else shown


def _line(text: str) -> str:
    line = " ⏎ ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)
