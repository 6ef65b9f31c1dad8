"""How Codex is started on the relay: a private app-server and a terminal attached to it.

    helper     codex app-server --listen unix://FOLDER/as.sock  -c mcp_servers.relay...
    provider   codex --remote unix://FOLDER/as.sock  MODE FLAGS  ARGUMENTS

Plans only; nothing here writes, and all that is run is a question to the program itself
(`tools`). With `--remote` most settings of the terminal's command line reach the thread; MCP
servers, writable folders and whatever is decided before there is a thread do not, so overrides of
the configuration go to both commands.

In guarded and read-only the app-server also gets what no flag says: MCP servers of the person's
own configuration are off, or ask before each tool whatever they were allowed there; web search
and connectors, which nobody could be asked about, are off; and the person, not a model, reviews.
What may be undone by the person's own words behind `--` stands before them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from relay_launchers.base import (
    BackgroundPlan,
    Binary,
    Command,
    LaunchPlan,
    LaunchRequest,
    LogEntry,
)
from relay_launchers.codex.arguments import SETTABLE, Arguments, parse_arguments
from relay_launchers.codex.background import attach_command, parse_background
from relay_launchers.codex.find import find_codex
from relay_launchers.codex.policy import MODES, POLICY_FILE, PROFILE, SessionPolicy
from relay_launchers.codex.rollout import read_rollout
from relay_launchers.codex.threads import with_thread
from relay_launchers.codex.tools import gate_servers, has_allowing_rules
from relay_launchers.environment import session_environment, session_marks

# Short, because a unix socket's path may have 107 bytes.
SOCKET_NAME = "as.sock"

_UNASKABLE = ("apps", "image_generation")
"""Features whose tools act without asking anybody."""


class CodexProvider:
    """Codex, as `relay_launchers.registry` holds it."""

    name = "codex"

    def find(self, environment: Mapping[str, str]) -> Binary:
        """Find the program. Raises ProviderNotFound."""
        return find_codex(environment)

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """Decide how to start it."""
        arguments = parse_arguments(request.arguments)
        program = str(request.binary.path)
        if not arguments.is_session:
            untouched = Command(
                argv=(program, *request.arguments),
                environment=request.environment,
                cwd=request.cwd,
            )
            return LaunchPlan(provider=untouched, on_relay=False)
        if not arguments.subcommand:
            arguments = parse_arguments(
                with_thread(request.arguments, request.environment, request.cwd)
            )
        socket = request.folder / SOCKET_NAME
        address = f"unix://{socket}"
        environment = session_environment(request)
        options = _server_options(request, arguments, has_policy=bool(arguments.subcommand))
        server = (program, "app-server", "--listen", address, *options)
        terminal = (program, "--remote", address, *_terminal_options(request, arguments))
        return LaunchPlan(
            provider=Command(argv=terminal, environment=environment, cwd=request.cwd),
            helper=Command(argv=server, environment=environment, cwd=request.cwd),
            helper_socket=socket,
            provider_session_id=arguments.thread_id if arguments.subcommand == "resume" else None,
            files=_files(request, arguments),
            approval_overrides=tuple(arguments.overrides),
        )

    def plan_background(self, request: LaunchRequest, *, resume: str | None) -> BackgroundPlan:  # noqa: ARG002 - the adapter resumes
        """The app-server alone. Raises ArgumentsRefused."""
        arguments, models = parse_background(request.arguments)
        socket = request.folder / SOCKET_NAME
        options = _server_options(request, arguments, has_policy=True)
        for model in models:
            options += _setting("model", model)
        program = str(request.binary.path)
        return BackgroundPlan(
            host=Command(
                argv=(program, "app-server", "--listen", f"unix://{socket}", *options),
                environment=session_environment(request),
                cwd=request.cwd,
            ),
            socket=socket,
            files={request.folder / POLICY_FILE: _policy(request, arguments).to_text()},
            approval_overrides=tuple(arguments.overrides),
        )

    def read_log(self, lines: Sequence[str]) -> list[LogEntry]:
        """Entries of a rollout file."""
        return read_rollout(lines)

    def attach_command(
        self, request: LaunchRequest, socket: Path, conversation: str
    ) -> Command | None:
        """The real terminal on the same thread."""
        return attach_command(request, socket, conversation)


def _server_options(request: LaunchRequest, arguments: Arguments, *, has_policy: bool) -> list[str]:
    options = [*_relay_tools(request), *_profile(request)]
    if request.approval != "open":
        options += gate_servers(request, _cwd(request, arguments), arguments.for_server)
        options += _setting("web_search", "disabled")
        for feature in _UNASKABLE:
            options += ["-c", f"features.{feature}=false"]
    policy = _policy(request, arguments)
    if policy.reviewer == "user":
        options += _setting("approvals_reviewer", "user")
    if has_policy:
        # Holds a turn back that starts before the adapter has set the policy, and serves /new.
        options += _setting("approval_policy", policy.approval)
        options += _setting("sandbox_mode", policy.sandbox)
    if arguments.writable_folders:
        folders = [str(request.cwd / folder) for folder in arguments.writable_folders]
        options += _setting("sandbox_workspace_write.writable_roots", folders)
    return [*options, *arguments.for_server]


def _profile(request: LaunchRequest) -> list[str]:
    """The permission profile that the adapter puts threads under (see `policy`), in open too, for
    a mode that is tightened later. Codex wants a default beside it, which no thread of a terminal
    takes: each brings its sandbox along."""
    access = f'{{":root" = "read", {_toml(str(request.folder))} = "deny"}}'
    default = ":workspace" if request.approval == "open" else PROFILE
    return [
        "-c",
        f"permissions.{PROFILE}.filesystem={access}",
        *_setting("default_permissions", default),
    ]


def _relay_tools(request: LaunchRequest) -> list[str]:
    """The relay's tools, for this session only.

    Without the approval mode Codex would ask before each of them, and refuse them all where it
    may not ask.
    """
    server = "mcp_servers.relay"
    marks = ", ".join(f"{name} = {_toml(value)}" for name, value in session_marks(request).items())
    return [
        *_setting(f"{server}.command", str(request.python)),
        *_setting(f"{server}.args", ["-I", "-S", str(request.pipe)]),
        "-c",
        f"{server}.env={{{marks}}}",
        *_setting(f"{server}.default_tools_approval_mode", "approve"),
    ]


def _terminal_options(request: LaunchRequest, arguments: Arguments) -> list[str]:
    if arguments.subcommand:
        return arguments.for_resuming
    approval, sandbox = MODES[request.approval]
    options: list[str] = []
    if request.approval == "guarded" and not _has_reviewer(arguments):
        options += _setting("approvals_reviewer", "user")
    if arguments.approval is None:
        options += ["-a", approval]
    if arguments.sandbox is None:
        options += ["-s", sandbox]
    return [*options, *arguments.for_terminal]


def _policy(request: LaunchRequest, arguments: Arguments) -> SessionPolicy:
    """The mode's policy with the person's own words put over it."""
    approval, sandbox = MODES[request.approval]
    reviewer = arguments.reviewer
    if request.approval == "guarded" and not _has_reviewer(arguments):
        reviewer = "user"
    return SessionPolicy(
        mode=request.approval,
        approval=_settable(arguments.approval, approval),
        sandbox=_settable(arguments.sandbox, sandbox),
        reviewer=reviewer,
        is_own=arguments.sandbox is not None,
        is_resumed=arguments.subcommand is not None,
        has_rules=has_allowing_rules(request.environment, _cwd(request, arguments)),
    )


def _cwd(request: LaunchRequest, arguments: Arguments) -> Path:
    return request.cwd / (arguments.folder or "")


def _has_reviewer(arguments: Arguments) -> bool:
    return arguments.reviewer is not None or any(
        "approvals_reviewer" in override for override in arguments.overrides
    )


def _settable(own: str | None, default: str) -> str:
    return own if own in SETTABLE else default


def _files(request: LaunchRequest, arguments: Arguments) -> Mapping[Path, str]:
    return {request.folder / POLICY_FILE: _policy(request, arguments).to_text()}


def _setting(key: str, value: str | list[str]) -> list[str]:
    return ["-c", f"{key}={_toml(value)}"]


def _toml(value: str | list[str]) -> str:
    """As a TOML value: its basic strings are JSON's, but for escapes JSON need not use."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
