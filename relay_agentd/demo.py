"""Two scripted agents that talk and hand over work, for a look at the relay without a provider.

They are ordinary agents that speak plain HTTP, as any script could. Each waits for what it reacts
to by long-polling its own inbox, so what is printed is what went over the relay. Both are removed
from the relay at the end, however it ends; their messages stay to be looked at.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import sleep
from typing import Any

from relay_agentd import relay_calls
from relay_agentd.errors import AgentdError
from relay_agentd.relay_client import RelayClient

Say = Callable[[str, str], None]

_WAIT_SECONDS = 20.0


@dataclass(slots=True)
class DemoAgent:
    """One scripted participant and how far it has read its inbox."""

    client: RelayClient
    id: str
    cursor: int

    def send(self, to: str, body: str, **more: Any) -> dict[str, Any]:
        """Say something."""
        fields = {"from": self.id, "to": to, "body": body, **more}
        sent: dict[str, Any] = self.client.request(relay_calls.send(fields))
        return sent

    def receive(self) -> dict[str, Any]:
        """The next message. Raises: AgentdError when none comes."""
        call = relay_calls.inbox(self.id, since=self.cursor, limit=1, wait=_WAIT_SECONDS)
        messages = self.client.request(call)["messages"]
        if not messages:
            raise AgentdError(f"{self.id} got no message within {_WAIT_SECONDS:g} s")
        message: dict[str, Any] = messages[0]
        self.cursor = message["id"]
        seen = [{"messageId": message["id"], "state": "in_context", "via": "poll"}]
        self.client.request(relay_calls.ack(self.id, seen))
        return message

    def status(self, status: str, detail: str | None = None) -> None:
        """Report what it is doing."""
        self.client.request(relay_calls.set_status(self.id, status, detail))


def run_demo(client: RelayClient, say: Say, *, pause: float, rounds: int | None) -> None:
    """Play the conversation `rounds` times, or until interrupted.

    `say` is told who does what; `pause` seconds between steps let a person follow. Raises:
    AgentdError.
    """
    with ExitStack() as stack:
        ada = stack.enter_context(_registered(client, "ada", "plans", ["demo", "planning"]))
        ben = stack.enter_context(_registered(client, "ben", "builds", ["demo", "building"]))
        say("relay", f"{ada.id} and {ben.id} are on the relay")
        played = 0
        while rounds is None or played < rounds:
            _play(ada, ben, say, pause)
            played += 1


@contextmanager
def _registered(
    client: RelayClient, name: str, does: str, capabilities: list[str]
) -> Iterator[DemoAgent]:
    agent_id = f"demo-{name}-{secrets.token_hex(4)}"
    description = {
        "id": agent_id,
        "name": f"{name.title()} (demo)",
        "label": f"demo {name}",
        "provider": "demo",
        "project": "demo",
        "tags": ["demo"],
        "capabilities": capabilities,
        "status": "idle",
        "statusDetail": does,
        "reachability": "poll",
    }
    registered = client.request(relay_calls.register(description))
    try:
        yield DemoAgent(client, agent_id, registered["cursor"])
    finally:
        client.request(relay_calls.remove_agent(agent_id))


def _play(ada: DemoAgent, ben: DemoAgent, say: Say, pause: float) -> None:
    """A question and its answer, then work that is offered, claimed, done and reported."""
    asked = ada.send(ben.id, "Ben, is the schema migration clean on your side?")
    say(ada.id, f"asks #{asked['id']}: {asked['body']}")
    sleep(pause)
    question = ben.receive()
    ben.status("busy", "looking at the migration")
    say(ben.id, f"has #{question['id']} in its context and looks")
    sleep(pause)
    answer = ben.send(ada.id, "Clean: 3 tables, no pending steps.", replyTo=question["id"])
    ben.status("idle")
    say(ben.id, f"answers #{answer['id']}: {answer['body']}")
    sleep(pause)
    ada.receive()
    offered = ada.send(
        "cap:building",
        "Add an index on messages.thread_id and measure it.",
        subject="work: index",
        claimable=True,
    )
    say(ada.id, f"offers work #{offered['id']} to whoever can build: {offered['body']}")
    sleep(pause)
    work = ben.receive()
    ada.client.request(relay_calls.claim(work["id"], ben.id))
    ben.status("busy", "adding the index")
    say(ben.id, f"claims #{work['id']}: nobody else can take it now")
    sleep(2 * pause)
    ben.client.request(
        relay_calls.complete(work["id"], ben.id, result="Index added: 41 ms became 0.6 ms.")
    )
    ben.status("idle")
    say(ben.id, f"completes #{work['id']}")
    sleep(pause)
    result = ada.receive()
    say(ada.id, f"reads the result #{result['id']}: {result['body']}")
