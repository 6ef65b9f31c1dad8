"""The plugin as one launch sees it: the templates of `plugin/` with this machine's paths in them.

Rendered into the session's own folder, so nothing is installed and nothing stays behind. Whole
strings of the form ``@name@`` are replaced after parsing, hence no path needs escaping.
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
# Claude Code runs a tool whose gate could not start, crashed or was killed. Status 2 is a denial;
# only in an open session (from its start, and now) the tool runs as if there was no gate. $PPID is
# Claude Code, as not every version tells its hooks; $5 is the mode, $6 the session's folder.
FAILSAFE: Final = """\
CLAUDE_PID=$PPID "$0" "$@" || case "$5 $(cat "$6/mode" 2>/dev/null)" in
"open "|"open open") ;;
*) echo "Agent Relay: the gate failed" >&2; exit 2 ;;
esac"""


def render_plugin(
    plugin: Path, *, python: Path, pipe: Path, mode: str, folder: Path
) -> dict[Path, str]:
    """Every file of the plugin at `plugin`, for the session that owns `folder`."""
    values = {
        "@python@": str(python),
        "@hook@": str(HOOK_PROGRAM),
        "@pipe@": str(pipe),
        "@mode@": mode,
        "@folder@": str(folder),
        "@failsafe@": FAILSAFE,
    }
    return {
        plugin / target: json.dumps(
            _filled(json.loads((_TEMPLATES / name).read_text("utf-8")), values), indent=1
        )
        for name, target in _TARGETS.items()
    }


def _filled(template: Any, values: Mapping[str, str]) -> Any:
    if isinstance(template, str):
        return values.get(template, template)
    if isinstance(template, list):
        return [_filled(item, values) for item in template]
    if isinstance(template, dict):
        return {name: _filled(item, values) for name, item in template.items()}
    return template
