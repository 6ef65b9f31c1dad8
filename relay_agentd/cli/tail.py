"""`tail`: what happens on the relay, as it happens."""

import click

from relay_agentd.cli.completion import complete_agent
from relay_agentd.cli.relay import relay

_TALK = ("message.created", "message.held", "message.claimed", "message.completed")


@click.command("tail", short_help="Follow what happens on the relay, live.")
@click.option(
    "--agent",
    metavar="ID",
    shell_complete=complete_agent,
    help="Only what this agent sends, gets or does.",
)
@click.option("--receipts", is_flag=True, help="Also how far each message gets.")
@click.option("--agents", "presence", is_flag=True, help="Also who comes, works, rests and goes.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
def tail_command(agent: str | None, receipts: bool, presence: bool, as_json: bool) -> None:
    """Follow the messages on the relay as they are sent; Ctrl-C ends it.

    A relay that restarts is waited for, and nothing is missed in between.

    \b
    relay-agentd tail
    relay-agentd tail --receipts --agents
    relay-agentd tail --json | jq .message.body
    """
    from relay_agentd.cli.events import EventPrinter, MessageSource, follow

    prefixes = (*_TALK, *(["message."] if receipts else []), *(["agent."] if presence else []))
    printer = EventPrinter(prefixes, agent, as_json=as_json)
    with relay() as client:
        for event in follow(MessageSource(client)):
            printer.show(event)
