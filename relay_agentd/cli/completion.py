"""`completion`: the shell finishes commands, options and names when Tab is pressed.

What completes names is asked for on every Tab, so it answers within a moment or not at all: a
relay that is away is no reason for a word on the terminal.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from relay_agentd.cli.output import one_line

_PATIENCE_SECONDS = 0.8
_PROGRAM = "relay-agentd"
_VARIABLE = "_RELAY_AGENTD_COMPLETE"
_HINTS = {
    "bash": "relay-agentd completion bash"
    " > ~/.local/share/bash-completion/completions/relay-agentd",
    "zsh": "relay-agentd completion zsh > ~/.zfunc/_relay-agentd"
    "   (with `fpath+=(~/.zfunc)` before compinit in ~/.zshrc)",
    "fish": "relay-agentd completion fish > ~/.config/fish/completions/relay-agentd.fish",
}


@click.command("completion", short_help="Print what lets a shell complete our commands.")
@click.argument("shell", type=click.Choice(list(_HINTS)), required=False)
def completion_command(shell: str | None) -> None:
    """Print the completion of SHELL (yours): commands, options, agents, sessions, approvals.

    \b
    eval "$(relay-agentd completion bash)"    only for this shell
    relay-agentd completion zsh > ~/.zfunc/_relay-agentd
    relay-agentd completion fish > ~/.config/fish/completions/relay-agentd.fish

    Without a pipe it also says where the completion of that shell belongs. PowerShell is not
    among them.
    """
    import sys

    from relay_agentd.cli import cli

    name = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name)
    if kind is None or name not in _HINTS:
        raise click.UsageError(f"name the shell: {', '.join(_HINTS)}")
    completer = kind(cli, {}, _PROGRAM, _VARIABLE)
    click.echo(completer.source_template % completer.source_vars())
    if sys.stdout.isatty():
        click.echo(f"# To install it:\n#   {_HINTS[name]}", err=True)


def complete_agent(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The ids of agents on the relay."""
    from relay_agentd import relay_calls

    def agents() -> list[CompletionItem]:
        found = _ask(relay_calls.agents())["agents"]
        return [
            CompletionItem(agent["id"], help=one_line(agent.get("label") or agent["status"]))
            for agent in found
            if agent["status"] != "offline" and agent["id"].startswith(begun)
        ]

    return _soon(agents)


def complete_target(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """What `send` takes: agents, and the groups they are in."""
    from relay_agentd import relay_calls

    def targets() -> list[CompletionItem]:
        groups = ["broadcast", "operator"]
        for agent in _ask(relay_calls.agents())["agents"]:
            groups += [f"tag:{tag}" for tag in agent["tags"]]
            groups += [f"cap:{cap}" for cap in agent["capabilities"]]
            groups += [f"label:{agent['label']}"] if agent.get("label") else []
        return [CompletionItem(name) for name in dict.fromkeys(groups) if name.startswith(begun)]

    return [*complete_agent(context, parameter, begun), *_soon(targets)]


def complete_session(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The sessions of this machine."""
    from relay_agentd.cli import machine

    def sessions() -> list[CompletionItem]:
        names = [
            (str(each.get("agentId") or each["key"]), each.get("label") or each["provider"])
            for each in machine.daemon().call("ps", timeout=_PATIENCE_SECONDS)["sessions"]
        ]
        return [
            CompletionItem(name, help=one_line(label))
            for name, label in names
            if name.startswith(begun)
        ]

    return _soon(sessions)


def complete_approval(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The approvals that wait for an answer."""
    from relay_agentd import relay_calls

    def approvals() -> list[CompletionItem]:
        found = _ask(relay_calls.approvals(status="pending"))["approvals"]
        return [
            CompletionItem(str(each["id"]), help=one_line(each["summary"])[:60])
            for each in found
            if str(each["id"]).startswith(begun)
        ]

    return _soon(approvals)


def _ask(call: Any) -> Any:
    from relay_agentd.cli.relay import relay

    with relay() as client:
        return client.request(call)


def _soon(names: Callable[[], list[CompletionItem]]) -> list[CompletionItem]:
    """What comes within a moment; nothing else, and never a word of complaint."""
    found: list[CompletionItem] = []

    def look() -> None:
        with suppress(Exception):  # whatever it is, Tab is not the place to tell
            found.extend(names())

    thread = Thread(target=look, daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    return list(found)
