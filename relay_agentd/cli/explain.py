"""`explain`: why a message did or did not arrive."""

from collections.abc import Mapping
from typing import Any

import click

from relay_agentd.cli.conversation import print_message
from relay_agentd.cli.output import (
    STATUS_STYLES,
    clock,
    is_terminal,
    one_line,
    print_json,
    print_table,
)
from relay_agentd.cli.relay import relay

RECEIPT_STYLES = {
    "in_context": "green",
    "read": "green",
    "replied": "green",
    "handed": "yellow",
    "routed": "yellow",
    "held": "red",
    "failed": "red",
    "expired": "red",
}
_COLUMNS = ("AGENT", "RECEIPT", "STATUS", "REACHED BY", "WHY")


@click.command("explain", short_help="Say why a message did or did not arrive.")
@click.argument("message_id", metavar="MSG", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_command(message_id: int, as_json: bool) -> None:
    """Say who message MSG was for, how far it got with each, and what happened when.

    \b
    relay-agentd explain 42
    """
    from relay_agentd import relay_calls

    with relay() as client:
        explanation = client.request(relay_calls.explain(message_id))
    if as_json:
        print_json(explanation)
        return
    if is_terminal():
        print_message(explanation["message"])
        click.echo()
    print_candidates(explanation)
    if is_terminal():
        _print_timeline(explanation)


def print_candidates(explanation: Mapping[str, Any]) -> None:
    """How far the message got with each agent it was for."""
    print_table(
        _COLUMNS,
        [_row(candidate) for candidate in explanation["candidates"] if candidate["matched"]],
        styles={"STATUS": STATUS_STYLES, "RECEIPT": RECEIPT_STYLES},
        keep={"WHY"},
        empty="No agent matches its target.",
    )
    if explanation.get("held"):
        click.echo("It is held back by the loop guard; an operator lets it through.")


def _row(candidate: Mapping[str, Any]) -> list[Any]:
    receipt = candidate.get("receipt") or {}
    return [
        candidate["agentId"],
        receipt.get("state", "stored") if isinstance(receipt, Mapping) else receipt,
        candidate.get("status"),
        candidate.get("reachability"),
        candidate.get("why"),
    ]


def _print_timeline(explanation: Mapping[str, Any]) -> None:
    click.echo()
    for entry in explanation.get("timeline", ()):
        detail = entry.get("detail")
        facts = (entry.get("agentId"), detail if isinstance(detail, str) else None)
        told = "  ".join(one_line(fact) for fact in facts if fact)
        click.echo(f"{clock(entry['at'])}  {one_line(entry['event']):<12}  {told}")
