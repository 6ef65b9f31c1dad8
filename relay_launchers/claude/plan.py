"""How Claude Code is started on the relay: flags, plugin and environment of one launch.

Plans only; nothing here spawns a session or writes a file.

The person's arguments come last and unchanged. Ours go before them and end with a single-valued
option, because Claude Code's list options (``--allowedTools``) would swallow a prompt after them.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from relay_launchers.base import (
    ApprovalMode,
    BackgroundPlan,
    Binary,
    Command,
    LaunchPlan,
    LaunchRequest,
    LogEntry,
)
from relay_launchers.claude.arguments import Arguments, parse_arguments
from relay_launchers.claude.background import background_plan, check_arguments
from relay_launchers.claude.bypass import may_bypass
from relay_launchers.claude.find import find_claude
from relay_launchers.claude.log import read_log
from relay_launchers.claude.plugin_files import render_plugin
from relay_launchers.discovery import version_numbers
from relay_launchers.environment import session_environment

RELAY_TOOLS: Final = "mcp__plugin_relay_relay__*"
# Tells the hooks, and by them the adapter, not to use the messaging socket of this session.
INBOUND_VARIABLE: Final = "AGENT_RELAY_CLAUDE_INBOUND"
NO_BACKGROUND_VARIABLE: Final = "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"
# `default` is called `manual` there; in between both names may be right, and `default` was
# still taken by 2.1.330.
_MANUAL_SINCE: Final = (2, 1, 330)
# Behind the gate a second line, for tools that the person's own settings may allow. Bash, which
# also reads, and other MCP servers are the gate's alone: a rule against them would be one against
# ours.
_NOT_READING: Final = (
    *("Edit", "Write", "NotebookEdit", "WebFetch", "WebSearch", "Agent", "Task", "Workflow"),
    *("Monitor", "CronCreate", "EnterWorktree"),
)
# A project's own settings could switch hooks off, and the gate with them; these stand above those.
_GATE_SETTINGS: Final = '{"disableAllHooks": false}'
# Started from inside another session (its shell tool), this one would be taken for that one.
_OTHER_SESSION: Final = frozenset(
    {"CLAUDE_PID", "CLAUDE_CODE_MESSAGING_SOCKET", "CLAUDE_CODE_MESSAGING_TOKEN", INBOUND_VARIABLE}
)


class ClaudeProvider:
    """Claude Code, as `relay_launchers.registry` holds it."""

    name = "claude"

    def __init__(self, new_session_id: Callable[[], str] = lambda: str(uuid.uuid4())) -> None:
        self._new_session_id = new_session_id

    def find(self, environment: Mapping[str, str]) -> Binary:
        """Find the program. Raises ProviderNotFound."""
        return find_claude(environment)

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """Decide how to start it."""
        arguments = parse_arguments(request.arguments)
        if not arguments.is_session:
            return LaunchPlan(
                provider=Command(
                    argv=(str(request.binary.path), *request.arguments),
                    environment=request.environment,
                    cwd=request.cwd,
                ),
                on_relay=False,
            )
        plugin = request.folder / "claude-plugin"
        session_id = None if arguments.chooses_conversation else self._new_session_id()
        return LaunchPlan(
            provider=Command(
                argv=(
                    str(request.binary.path),
                    *(("--session-id", session_id) if session_id else ()),
                    *_approval_flags(request.approval, arguments, request.binary),
                    "--plugin-dir",
                    str(plugin),
                    *request.arguments,
                ),
                environment=_environment(request, arguments),
                cwd=request.cwd,
            ),
            provider_session_id=session_id or arguments.session_id,
            files=render_plugin(
                plugin,
                python=request.python,
                pipe=request.pipe,
                mode=request.approval,
                folder=request.folder,
            ),
            approval_overrides=arguments.approval_overrides,
        )

    def plan_background(self, request: LaunchRequest, *, resume: str | None) -> BackgroundPlan:
        """Decide how to start it without a terminal. Raises ArgumentsRefused."""
        arguments = parse_arguments(request.arguments)
        check_arguments(arguments)
        return background_plan(
            request,
            arguments,
            resume=resume,
            approval_flags=_approval_flags(request.approval, arguments, request.binary),
            environment=_environment(request, arguments),
            new_session_id=self._new_session_id,
        )

    def read_log(self, lines: Sequence[str]) -> list[LogEntry]:
        """Entries of a transcript."""
        return read_log(lines)

    def attach_command(
        self,
        request: LaunchRequest,  # noqa: ARG002 - the protocol's signature
        socket: Path,  # noqa: ARG002
        conversation: str,  # noqa: ARG002
    ) -> Command | None:
        """Its terminal cannot join a session that runs: the log is followed."""
        return None


def _approval_flags(
    approval: ApprovalMode, arguments: Arguments, binary: Binary
) -> tuple[str, ...]:
    """The mode's flags. List options add up over repetitions, so ours never take from the
    person's own; a permission mode the person wrote replaces ours."""
    flags: list[str] = []
    if approval == "read-only":
        flags += ["--disallowedTools", *_NOT_READING]
        flags += ["--allowedTools", "Read", "Grep", "Glob", RELAY_TOOLS]
    else:
        flags += ["--allowedTools", RELAY_TOOLS]
    if approval != "open":
        flags += ["--settings", _GATE_SETTINGS]
    if approval != "open" and not arguments.sets_permission_mode:
        flags += ["--permission-mode", _permission_mode(approval, binary)]
    return tuple(flags)


def _permission_mode(approval: ApprovalMode, binary: Binary) -> str:
    if approval == "read-only":
        return "dontAsk"
    return "manual" if version_numbers(binary.version) >= _MANUAL_SINCE else "default"


def _environment(request: LaunchRequest, arguments: Arguments) -> dict[str, str]:
    environment = {
        name: value
        for name, value in session_environment(request).items()
        if name not in _OTHER_SESSION
    }
    if request.approval == "guarded":
        # A sub-agent in the background shows no dialog as long as our PermissionRequest hook waits:
        # only the relay could answer it.
        environment[NO_BACKGROUND_VARIABLE] = "1"
    if may_bypass(arguments, request.cwd, request.environment):
        # A session that bypasses permissions holds what comes in by its socket behind a dialog.
        # `crossSessionInbound: accept` would lift that for every other local session as well,
        # which is the person's choice and not ours: the doorbell is used instead.
        environment[INBOUND_VARIABLE] = "bell"
    return environment
