"""`doctor --session ID --send`: a real message, and the wait for the session's own proof."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from relay_agentd import relay_calls as calls
from relay_agentd.clock import monotonic
from relay_agentd.doctor import Check, Patient, ok, problem, warning
from relay_agentd.relay_client import RelayClient
from relay_server.wire import OPERATOR, ReceiptState

_TEXT: Final = "Agent Relay self-test. There is nothing to do; please do not answer."
_ARRIVED: Final = (ReceiptState.IN_CONTEXT, ReceiptState.READ, ReceiptState.REPLIED)


def send(patient: Patient, known: Mapping[str, Any], *, within: float) -> Iterator[Check]:
    """Raises: RelayUnreachable, RelayRefused."""
    agent_id, settings = known["session"]["agentId"], patient.settings
    if settings is None or agent_id is None:
        yield warning("self-test", "nothing was sent: the session is no agent yet")
        return
    if known["delivery"]["reachability"] == "poll":
        yield warning("self-test", "nothing was sent: this session looks for its mail itself")
        return
    with RelayClient(settings.url, settings.token) as client:
        fields = {"from": OPERATOR, "to": agent_id, "body": _TEXT, "subject": "self-test"}
        message_id = client.request(calls.send(fields))["id"]
        began = monotonic()
        receipt = _arrived(client, message_id, within)
    if receipt is not None:
        seconds, via = monotonic() - began, receipt.get("via") or "the session"
        yield ok("self-test", f"#{message_id} was in its context after {seconds:.1f} s, by {via}")
        return
    detail = f"#{message_id} was not seen in its context within {within:g} s"
    yield problem("self-test", detail, f"relay-agentd explain {message_id} says how far it came")


def _arrived(client: RelayClient, message_id: int, within: float) -> Mapping[str, Any] | None:
    deadline = monotonic() + within
    while (left := deadline - monotonic()) > 0:
        call = calls.message(message_id, wait=min(left, 30.0), state=ReceiptState.IN_CONTEXT)
        for receipt in client.request(call)["receipts"]:
            if receipt["state"] in _ARRIVED:
                found: Mapping[str, Any] = receipt
                return found
    return None
