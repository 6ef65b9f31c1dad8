"""`claim`: take work that was offered, before anybody else does."""

from typing import Any

import click

from relay_agentd.cli.completion import complete_agent
from relay_agentd.cli.conversation import print_message
from relay_agentd.cli.output import clock, is_terminal, one_line, print_json
from relay_agentd.cli.relay import find_agent, own_agent, relay
from relay_agentd.cli.tasks import print_task
from relay_server.wire import OPERATOR


@click.command("claim", short_help="Take a claimable message or a task.")
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@click.option("--task", "is_task", is_flag=True, help="ID is a task's, as `tasks` lists it.")
@click.option(
    "--for",
    "agent",
    metavar="AGENT",
    shell_complete=complete_agent,
    help="Who takes it, by id or label (the session one is in, else you).",
)
@click.option("--release", is_flag=True, help="Give it back instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def claim_command(
    number: int, is_task: bool, agent: str | None, release: bool, as_json: bool
) -> None:
    """Take claimable message ID, or with --task task ID; nobody else gets it then.

    Messages and tasks are numbered apart, so 7 may be either: --task says which. A task and the
    message that offers it are claimed together, whichever is named.

    \b
    relay-agentd claim 42
    relay-agentd claim --task 7
    relay-agentd claim --task 7 --for backend
    relay-agentd claim 42 --release
    """
    from relay_agentd import relay_calls

    if release:
        verb = relay_calls.release_task if is_task else relay_calls.release
    else:
        verb = relay_calls.claim_task if is_task else relay_calls.claim
    with relay() as client:
        name = agent or own_agent() or OPERATOR
        who = OPERATOR if name == OPERATOR else str(find_agent(client, name)["id"])
        work: dict[str, Any] = client.request(verb(number, who))
    if as_json:
        print_json(work)
        return
    until = work["leaseExpiresAt"] if is_task else (work["claim"] or {}).get("expiresAt")
    if not is_terminal():
        state = "released" if release else "claimed"
        click.echo("\t".join([str(number), state, "" if release else who, until or ""]))
        return
    what = f"Task {number}" if is_task else f"#{number}"
    if release:
        click.echo(f"{what} is open again.")
        return
    click.echo(f"{what} is claimed by {one_line(who)}{f' until {clock(until)}' if until else ''}.")
    if is_task:
        print_task(work)
    else:
        print_message(work)
