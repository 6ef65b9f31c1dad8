"""`agents`: who is on the relay."""

from typing import Any

import click

from relay_agentd.cli.output import STATUS_STYLES, print_json, print_table, seen
from relay_agentd.cli.relay import relay

COLUMNS = ("AGENT", "STATUS", "LABEL", "PROVIDER", "MACHINE", "PROJECT", "TAGS", "CAN", "SEEN")


@click.command("agents", short_help="List who is on the relay.")
@click.option("--status", metavar="STATUS", help="idle, busy, waiting or offline.")
@click.option("--tag", metavar="NAME", help="Only agents with this tag.")
@click.option("--cap", metavar="NAME", help="Only agents with this capability.")
@click.option("--machine", metavar="NAME", help="Only agents on this machine.")
@click.option("-q", "--query", metavar="TEXT", help="Only agents that match this text.")
@click.option("--all", "everyone", is_flag=True, help="Also those offline, and built-in.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def agents_command(
    status: str | None,
    tag: str | None,
    cap: str | None,
    machine: str | None,
    query: str | None,
    everyone: bool,
    as_json: bool,
) -> None:
    """List who is on the relay: an AGENT is what `send` takes.

    \b
    relay-agentd agents
    relay-agentd agents --cap review --json
    relay-agentd agents --all
    """
    from relay_agentd import relay_calls

    call = relay_calls.agents(status=status, tag=tag, capability=cap, machine=machine, q=query)
    with relay() as client:
        found = client.request(call)["agents"]
    if not everyone and status is None:
        found = [agent for agent in found if agent["status"] != "offline"]
    if not everyone:
        found = [agent for agent in found if not agent["builtIn"]]
    if as_json:
        print_json({"agents": found})
        return
    print_table(
        COLUMNS,
        [_row(agent) for agent in found],
        styles={"STATUS": STATUS_STYLES},
        empty="No agent is on the relay now. Start one: relay-agentd run claude"
        " (or look at `relay-agentd agents --all`)",
    )


def _row(agent: dict[str, Any]) -> list[Any]:
    return [
        agent["id"],
        agent["status"],
        agent.get("label"),
        agent.get("provider"),
        agent.get("machine"),
        agent.get("project"),
        " ".join(agent.get("tags") or ()),
        " ".join(agent.get("capabilities") or ()),
        "" if agent["builtIn"] else seen(agent["lastSeenAt"]),
    ]
