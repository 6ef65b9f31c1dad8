"""`attach`: a look into a session that runs in the background."""

import os
import sys
from typing import Any

import click

from relay_agentd.cli.completion import complete_session


@click.command("attach", short_help="Look into a background session, live.")
@click.argument("target", metavar="ID", shell_complete=complete_session)
def attach_command(target: str) -> None:
    """Look into a background session of this machine; it goes on when you leave.

    For Codex this is its own terminal on the same conversation; leave it as you would leave Codex.
    For others what is said and done is shown as it happens, and each line you type is sent to the
    session as a message from the operator; Ctrl-C leaves. `logs ID --follow` only shows.

    \b
    relay-agentd attach laptop-codex-shop-1a2b3c4d
    relay-agentd attach backend
    """
    from relay_agentd.cli.conversation_view import View

    view = View.of(target, as_json=False)
    view.require_running()
    command = view.terminal_command()
    if command is not None:
        _become(command)
    view.show_tail(20)
    if not sys.stdin.isatty():
        view.follow()
        return
    click.secho(
        "-- a line you type is sent to it, as from the operator; Ctrl-C leaves it running --",
        dim=True,
        err=True,
    )
    try:
        view.follow(speak=True)
    except KeyboardInterrupt:
        click.secho(f"\n-- it goes on: relay-agentd attach {target} --", dim=True, err=True)
        raise click.exceptions.Exit(0) from None
    click.secho("-- the session has ended --", dim=True, err=True)


def _become(command: Any) -> None:
    """The provider's terminal in the place of this program."""
    from relay_agentd.errors import AgentdError

    try:
        os.chdir(command.cwd)
        os.execve(command.argv[0], command.argv, dict(command.environment))  # noqa: S606
    except OSError as error:
        raise AgentdError(f"cannot start {command.argv[0]}: {error.strerror}") from error
