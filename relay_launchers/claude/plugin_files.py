"""The plugin, for one launch or installed: the templates of `plugin/` with this machine's paths.

For a launch it is rendered into the session's own folder, so nothing is installed and nothing
stays behind. Whole strings of the form ``@name@`` are replaced after parsing, hence no path needs
escaping; in a list, several may take the place of one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_TEMPLATES: Final = Path(__file__).parent / "plugin"
# Templates have plain names: dot files are easily lost on the way into a wheel.
_TARGETS: Final = {
    "plugin.json": Path(".claude-plugin/plugin.json"),
    "hooks.json": Path("hooks/hooks.json"),
    "mcp.json": Path(".mcp.json"),
}
HOOK_PROGRAM: Final = Path(__file__).parent / "hook.py"
JOINED_PROGRAM: Final = Path(__file__).parent / "joined.py"
# Claude Code runs a tool whose gate could not start, crashed or was killed. Status 2 is a denial;
# only in an open session (from its start, and now) the tool runs as if there was no gate. $PPID is
# Claude Code, as not every version tells its hooks; $5 is the mode, $6 the session's folder.
FAILSAFE: Final = """\
CLAUDE_PID=$PPID "$0" "$@" || case "$5 $(cat "$6/mode" 2>/dev/null)" in
"open "|"open open") ;;
*) echo "Agent Relay: the gate failed" >&2; exit 2 ;;
esac"""
# The same for a session that was not started here: $5 is the control socket, the session's folder
# begins with its process (see `joined.py`).
JOINED_FAILSAFE: Final = """\
CLAUDE_PID=$PPID "$0" "$@" || {
mode=$(cat "${5%/*}"/s-*/"$(printf %06x "$PPID")"*/mode 2>/dev/null)
case "${AGENT_RELAY_APPROVAL:-open} $mode" in
"open "|"open open") ;;
*) echo "Agent Relay: the gate failed" >&2; exit 2 ;;
esac; }"""


def render_plugin(
    plugin: Path, *, python: Path, pipe: Path, mode: str, folder: Path
) -> dict[Path, str]:
    """Every file of the plugin at `plugin`, for the session that owns `folder`."""
    return _render(
        plugin,
        {
            "@python@": str(python),
            "@hook@": str(HOOK_PROGRAM),
            "@pipe@": str(pipe),
            "@mode@": mode,
            "@folder@": str(folder),
            "@failsafe@": FAILSAFE,
        },
    )


def render_joined_plugin(
    plugin: Path, *, python: Path, pipe: Path, control_socket: Path, config: Path
) -> dict[Path, str]:
    """Every file of the plugin that makes any session join by itself (see `joined.py`)."""
    program, machine = str(JOINED_PROGRAM), [str(control_socket), str(config)]
    return _render(
        plugin,
        {
            "@python@": str(python),
            "@hook@": program,
            "@pipe@": [program, "MCP", *machine, str(pipe)],
            "@mode@": machine[0],
            "@folder@": machine[1],
            "@failsafe@": JOINED_FAILSAFE,
        },
    )


def _render(plugin: Path, values: Mapping[str, str | list[str]]) -> dict[Path, str]:
    return {
        plugin / target: json.dumps(
            _filled(json.loads((_TEMPLATES / name).read_text("utf-8")), values), indent=1
        )
        for name, target in _TARGETS.items()
    }


def _filled(template: Any, values: Mapping[str, str | list[str]]) -> Any:
    if isinstance(template, str):
        return values.get(template, template)
    if isinstance(template, list):
        filled = [_filled(item, values) for item in template]
        return [each for item in filled for each in (item if isinstance(item, list) else [item])]
    if isinstance(template, dict):
        return {name: _filled(item, values) for name, item in template.items()}
    return template
