"""`approve` and `deny`: the answer to what a session asks."""

from typing import Any, NoReturn

import click

from relay_agentd.cli.completion import complete_approval
from relay_agentd.cli.output import clock, is_terminal, one_line, print_json
from relay_agentd.cli.question import gist
from relay_agentd.cli.relay import relay
from relay_agentd.errors import RelayRefused
from relay_server.wire import ApprovalStatus, Decision


@click.command("approve", short_help="Let a session take the step it asks for.")
@click.argument(
    "approval_id", metavar="ID", type=click.IntRange(min=1), shell_complete=complete_approval
)
@click.option("--session", is_flag=True, help="Also the same step again, as long as it runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def approve_command(approval_id: int, session: bool, as_json: bool) -> None:
    """Let a session take the step it asks for; `relay-agentd approvals` lists the IDs.

    \b
    relay-agentd approve 7
    relay-agentd approve 7 --session
    """
    remember = "session" if session else None
    approval = _decide(approval_id, Decision.ALLOW, remember=remember)
    _say(approval, as_json=as_json, more=", and again in this session" if session else "")


@click.command("deny", short_help="Stop the step a session asks for.")
@click.argument(
    "approval_id", metavar="ID", type=click.IntRange(min=1), shell_complete=complete_approval
)
@click.option("--reason", metavar="TEXT", help="What the session is told.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def deny_command(approval_id: int, reason: str | None, as_json: bool) -> None:
    """Stop the step a session asks for; `relay-agentd approvals` lists the IDs.

    \b
    relay-agentd deny 7
    relay-agentd deny 7 --reason "not on the production database"
    """
    approval = _decide(approval_id, Decision.DENY, reason=reason)
    _say(approval, as_json=as_json)


def _decide(approval_id: int, decision: Decision, **more: str | None) -> dict[str, Any]:
    from relay_agentd import relay_calls

    with relay() as client:
        try:
            answer: dict[str, Any] = client.request(
                relay_calls.decide(approval_id, decision.value, **more)
            )
        except RelayRefused as error:
            if error.code != "already_decided":
                raise
            _refuse(error, client.request(relay_calls.approval(approval_id)))
        return answer


def _refuse(error: RelayRefused, approval: dict[str, Any]) -> NoReturn:
    number = approval["id"]
    when = clock(approval["decidedAt"]) if approval.get("decidedAt") else "meanwhile"
    said = {
        ApprovalStatus.EXPIRED: f"approval {number} expired at {when}: nobody answered in time, "
        "which counts as a denial",
        ApprovalStatus.CANCELED: f"approval {number} is over since {when}: it was answered at the "
        "session's own terminal, or the session has ended",
    }.get(
        approval["status"],
        f"approval {number} is {approval['status']} already,"
        f" by {one_line(str(approval.get('decidedBy')))} at {when}",
    )
    raise RelayRefused(error.code, error.status, {**error.problem, "detail": said}) from error


def _say(approval: dict[str, Any], *, as_json: bool, more: str = "") -> None:
    if as_json:
        print_json(approval)
        return
    fields = [str(approval["id"]), approval["status"], approval["agentId"], gist(approval)]
    if not is_terminal():
        click.echo("\t".join(fields))
        return
    number, status, agent, what = fields
    colour = "green" if status == ApprovalStatus.ALLOWED else "red"
    click.echo(f"#{number} {click.style(status, fg=colour)}{more}: {what}  ({one_line(agent)})")
