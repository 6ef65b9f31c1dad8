"""`inbox` and `thread`: messages that were sent."""

from typing import TYPE_CHECKING, Any

import click

from relay_agentd.cli.completion import complete_agent
from relay_agentd.cli.conversation import print_messages
from relay_agentd.cli.output import is_terminal
from relay_agentd.cli.relay import relay
from relay_server.wire import MAX_WAIT_SECONDS, OPERATOR

if TYPE_CHECKING:
    from relay_agentd.relay_client import RelayClient


@click.command("inbox", short_help="Show what was sent to an agent, or to you.")
@click.option(
    "--for",
    "agent",
    metavar="ID",
    shell_complete=complete_agent,
    help="Whose inbox (yours).",
)
@click.option("--all", "everything", is_flag=True, help="Also what was marked as read.")
@click.option("--mark-read", is_flag=True, help="Mark what is shown as read.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 500), default=50, show_default=True,
    metavar="N", help="At most so many.",
)  # fmt: skip
@click.option(
    "--wait",
    type=click.FloatRange(min=0, max=86400),
    default=0.0,
    metavar="SECONDS",
    help="When there is nothing, how long to wait for something.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inbox_command(
    agent: str | None, everything: bool, mark_read: bool, limit: int, wait: float, as_json: bool
) -> None:
    """Show what was sent to an agent and not marked as read; without --for to `operator`, you.

    Inside a session that `relay-agentd run` started, and without --for, it is the session's own
    mail; what is shown counts as read there.

    \b
    relay-agentd inbox
    relay-agentd inbox --mark-read
    relay-agentd inbox --wait 60
    relay-agentd inbox --for laptop-claude-shop-1a2b3c4d --all --json
    """
    from relay_agentd import relay_calls
    from relay_agentd.cli.own_session import OwnSession

    own = OwnSession.around() if agent is None else None
    if own is not None:
        print_messages(own.mail(limit, wait=wait), as_json=as_json, empty="No unread mail.")
        return
    agent = agent or OPERATOR
    with relay() as client:
        envelope = _waited(client, agent, unread=not everything, limit=limit, wait=wait)
        print_messages(envelope, as_json=as_json, empty=f"No unread mail for {agent}.")
        if mark_read:
            for message in envelope["messages"]:
                client.request(relay_calls.mark_read(message["id"], agent))
    if envelope.get("more") and is_terminal():
        click.echo(f"There is more: relay-agentd inbox --limit {min(500, limit * 4)}", err=True)


def _waited(
    client: "RelayClient", agent: str, *, unread: bool, limit: int, wait: float
) -> dict[str, Any]:
    """The inbox, as soon as there is something in it."""
    from relay_agentd import relay_calls
    from relay_agentd.clock import monotonic

    deadline = monotonic() + wait
    while True:
        left = max(0.0, deadline - monotonic())
        call = relay_calls.inbox(
            agent, since=0, limit=limit, unread=unread, wait=min(left, MAX_WAIT_SECONDS)
        )
        envelope: dict[str, Any] = client.request(call)
        if envelope["messages"] or left <= 0:
            return envelope


@click.command("thread", short_help="Show a whole conversation.")
@click.argument("message_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def thread_command(message_id: int, as_json: bool) -> None:
    """Show the whole conversation that message ID belongs to, oldest first.

    \b
    relay-agentd thread 42
    """
    from relay_agentd import relay_calls

    with relay() as client:
        envelope = client.request(relay_calls.thread(message_id))
    print_messages(
        envelope, as_json=as_json, empty=f"Nothing is left of the thread of #{message_id}."
    )
