"""`inbox` and `thread`: messages that were sent."""

import click

from relay_agentd.cli.completion import complete_agent
from relay_agentd.cli.conversation import print_messages
from relay_agentd.cli.output import is_terminal
from relay_agentd.cli.relay import relay
from relay_server.wire import OPERATOR


@click.command("inbox", short_help="Show what was sent to an agent, or to you.")
@click.option(
    "--for",
    "agent",
    metavar="ID",
    default=OPERATOR,
    shell_complete=complete_agent,
    help="Whose inbox (yours).",
)
@click.option("--all", "everything", is_flag=True, help="Also what was marked as read.")
@click.option("--mark-read", is_flag=True, help="Mark what is shown as read.")
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inbox_command(agent: str, everything: bool, mark_read: bool, limit: int, as_json: bool) -> None:
    """Show what was sent to an agent and not marked as read; without --for to `operator`, you.

    \b
    relay-agentd inbox
    relay-agentd inbox --mark-read
    relay-agentd inbox --for laptop-claude-shop-1a2b3c4d --all --json
    """
    from relay_agentd import relay_calls

    with relay() as client:
        call = relay_calls.inbox(agent, since=0, limit=limit, unread=not everything)
        envelope = client.request(call)
        print_messages(envelope, as_json=as_json, empty=f"No unread mail for {agent}.")
        if mark_read:
            for message in envelope["messages"]:
                client.request(relay_calls.mark_read(message["id"], agent))
    if envelope.get("more") and is_terminal():
        click.echo(f"There is more: relay-agentd inbox --limit {min(500, limit * 4)}", err=True)


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
