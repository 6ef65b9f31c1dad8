"""An agent in Python: `RelayClient`, the public client of the relay. See docs/client.md.

    with RelayClient("my-bot", capabilities=["echo"]) as relay:
        for message in relay.messages():
            relay.reply(message, f"echo: {message.body}")

Inside `with` the agent is on the relay: one thread of ours keeps it alive with heartbeats, and it
goes offline at the end. Every call waits for a relay that is away for a moment and is then sent
again; what would take effect twice carries an idempotency key. May be used by several threads.
"""

import os
import random
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from relay_agentd import relay_calls as calls
from relay_agentd.backoff import Backoff
from relay_agentd.client_errors import (
    AgentdError,
    AlreadyClaimed,
    Forbidden,
    NotFound,
    RelayRefused,
    RelayUnreachable,
    StaleInstance,
    named,
)
from relay_agentd.client_retry import PAUSES, insist
from relay_agentd.client_types import Agent, Approval, Claim, Message, Task, read
from relay_agentd.clock import monotonic
from relay_agentd.paths import Paths
from relay_agentd.relay_client import RelayClient as Http
from relay_agentd.settings import load_settings
from relay_server.wire import MAX_WAIT_SECONDS, OPERATOR, AgentStatus, ApprovalStatus

__all__ = [
    "Agent",
    "AgentdError",
    "AlreadyClaimed",
    "Approval",
    "Claim",
    "Forbidden",
    "Message",
    "NotFound",
    "RelayClient",
    "RelayRefused",
    "RelayUnreachable",
    "StaleInstance",
    "Task",
]

# Without a place on a stream: how long to poll before asking for one again.
_POLLING_SECONDS = 60.0
_FAREWELL_SECONDS = 3.0
_REMEMBERED = 2000


class RelayClient:
    """An agent on the relay; without an id a person's script that speaks as `operator`."""

    def __init__(
        self,
        agent_id: str | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        patience: float = 60.0,
        heartbeat: float | None = 20.0,
        **description: Any,
    ) -> None:
        """`url` and `token`: of the relay; else as the settings of this machine say. `patience`:
        for how long a call goes on trying while the relay is away. `heartbeat`: seconds between
        two signs of life, None to send them yourself. `description`: what others see of the
        agent, as the API names it: `label`, `tags`, `capabilities`, `channels`, `meta`, ...

        Raises: SettingsInvalid.
        """
        if url is None:
            settings = load_settings(os.environ, env_file=Paths.default().env_file)
            url, token = settings.url, token or settings.token
        self.id = agent_id
        self.url = url
        self.instance = uuid.uuid4().hex
        """This run: a newer one of the same agent fences it off."""
        self._http = Http(url, token)
        self._patience = patience
        self._heartbeat_seconds = heartbeat
        self._description = {"reachability": "poll", **description}
        self._registered = False
        self._closing = threading.Event()
        self._beating: threading.Thread | None = None
        self._done: dict[int, None] = {}

    # --- being there ---

    def __enter__(self) -> Self:
        if self.id is not None:
            try:
                self.register()
            except BaseException:
                self.close()
                raise
            if self._heartbeat_seconds is not None:
                self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def register(self) -> Agent:
        """Come onto the relay, or come back. Raises: AgentdError."""
        card = {"id": self._own_id(), "instanceId": self.instance, **self._description}
        answer = self._request(calls.register(card, instance=self.instance))
        self._registered = True
        return read(Agent, answer)

    def heartbeat(self) -> Agent:
        """A sign of life. Raises: AgentdError."""
        call = calls.heartbeat(self._own_id(), instance=self.instance)
        return read(Agent, self._request(call))

    def set_status(self, status: str, detail: str | None = None) -> Agent:
        """`idle`, `busy`, `waiting` or `offline`; a sign of life too. Raises: AgentdError."""
        call = calls.set_status(self._own_id(), status, detail, instance=self.instance)
        return read(Agent, self._request(call))

    def describe(self, **fields: Any) -> Agent:
        """Change `label`, `tags`, `capabilities`, `channels` or `meta`. Raises: AgentdError."""
        changed = read(Agent, self._request(calls.change_agent(self._own_id(), fields)))
        self._description.update(fields)
        return changed

    def set_label(self, label: str | None) -> Agent:
        """What people call it; None takes the label away. Raises: AgentdError."""
        return self.describe(label=label)

    def close(self) -> None:
        """Go offline, as far as the relay is there to be told, and let go of the connection."""
        self._closing.set()
        if self._beating is not None:
            # A beat that arrived after the farewell would undo it.
            self._beating.join(_FAREWELL_SECONDS)
        if self._registered:
            self._patience = min(self._patience, _FAREWELL_SECONDS)
            with suppress(AgentdError):
                self.set_status(AgentStatus.OFFLINE)
            self._registered = False
        self._http.close()

    # --- mail ---

    def messages(self) -> Iterator[Message]:
        """All mail, for ever, as it comes: oldest first, each once in this run.

        A message counts as read when the loop asks for the next one. One whose work raised, or
        during which the program died, is offered again. Raises: AgentdError, when it cannot go on.
        """
        for message in self._arriving():
            if message.id not in self._done:
                yield message
            self.mark_read(message)

    def poll(self, wait: float = 0.0, *, limit: int = 50) -> list[Message]:
        """What has not been acknowledged, oldest first; `wait` up to 60 s for something to come.
        `mark_read` acknowledges. Raises: AgentdError."""
        call = calls.inbox(self._own_id(), wait=min(wait, MAX_WAIT_SECONDS), limit=limit)
        return [read(Message, each) for each in self._request(call)["messages"]]

    def mark_read(self, *messages: Message | int) -> None:
        """The work is done: it is not offered again. Raises: AgentdError."""
        self.acknowledge("read", *messages)
        self._done |= dict.fromkeys(_number(each) for each in messages)
        for forgotten in list(self._done)[:-_REMEMBERED]:
            del self._done[forgotten]

    def acknowledge(self, state: str, *messages: Message | int, detail: str | None = None) -> None:
        """Report how far messages got: `handed`, `in_context`, `read` or `failed`.

        Raises: AgentdError.
        """
        base: dict[str, Any] = {"state": state, "via": "python"}
        base |= {} if detail is None else {"detail": detail}
        receipts = [{"messageId": _number(each), **base} for each in messages]
        self._request(calls.ack(self._own_id(), receipts, instance=self.instance))

    def send(self, to: str, body: str, *, key: str | None = None, **more: Any) -> Message:
        """Send a message; `more` as in the API: `subject`, `channel`, `priority`, `claimable`,
        `payload`, `replyTo`, `expiresInSeconds`. The same `key` never sends twice (24 h), whatever
        happens in between. Raises: AgentdError."""
        fields = {"from": self.id or OPERATOR, "to": to, "body": body, **more}
        return self._send(fields, key)

    def reply(
        self, message: Message | int, body: str, *, key: str | None = None, **more: Any
    ) -> Message:
        """Answer in a message's thread. Raises: AgentdError."""
        fields = {
            "from": self.id or OPERATOR, "replyTo": _number(message), "body": body, **more
        }  # fmt: skip
        return self._send(fields, key)

    def message(self, message_id: int) -> Message:
        """One message. Raises: AgentdError."""
        return read(Message, self._request(calls.message(message_id)))

    def thread(self, message: Message | int) -> list[Message]:
        """The whole conversation, oldest first. Raises: AgentdError."""
        found = self._request(calls.thread(_number(message)))["messages"]
        return [read(Message, each) for each in found]

    def agents(self, **filters: str | None) -> list[Agent]:
        """Who is there: `status`, `tag`, `capability`, `machine`, `q`. Raises: AgentdError."""
        return [read(Agent, each) for each in self._request(calls.agents(**filters))["agents"]]

    def agent(self, agent_id: str | None = None) -> Agent:
        """One agent, itself without an id. Raises: AgentdError."""
        return read(Agent, self._request(calls.agent(agent_id or self._own_id())))

    # --- work for one ---

    def claim(self, message: Message | int, *, lease: int | None = None) -> Message:
        """Take a claimable message for `lease` seconds (900); again renews.

        Raises: AlreadyClaimed, AgentdError.
        """
        call = calls.claim(
            _number(message), self._own_id(), lease_seconds=lease, instance=self.instance
        )
        return read(Message, self._request(call))

    def complete(self, message: Message | int, result: str | None = None) -> Message:
        """The claimed work is done; `result` becomes a reply. Raises: AgentdError."""
        call = calls.complete(
            _number(message),
            self._own_id(),
            result=result,
            instance=self.instance,
            idempotency_key=_key(None),
        )
        return read(Message, self._request(call))

    def release(self, message: Message | int) -> Message:
        """Give claimed work back. Raises: AgentdError."""
        call = calls.release(_number(message), self._own_id(), instance=self.instance)
        return read(Message, self._request(call))

    def tasks(self, **filters: str | int | None) -> list[Task]:
        """Tasks, newest first: `status`, `target`, `claimedBy`, `q`. Raises: AgentdError."""
        return [read(Task, each) for each in self._request(calls.tasks(**filters))["tasks"]]

    def task(self, task_id: int) -> Task:
        """One task. Raises: AgentdError."""
        return read(Task, self._request(calls.task(task_id)))

    def create_task(self, title: str, target: str, *, key: str | None = None, **more: Any) -> Task:
        """Report work to be done; `more`: `body`, `severity`, `dedupeKey`, `metadata`, ...

        Raises: AgentdError.
        """
        fields = {"title": title, "target": target, **more}
        return read(Task, self._request(calls.create_task(fields, idempotency_key=_key(key))))

    def claim_task(self, task_id: int, *, lease: int | None = None) -> Task:
        """Take a task, and with it its message. Raises: AlreadyClaimed, AgentdError."""
        call = calls.claim_task(
            task_id, self._own_id(), lease_seconds=lease, instance=self.instance
        )
        return read(Task, self._request(call))

    def update_task(self, task_id: int, status: str, **more: Any) -> Task:
        """How far the work is: `in_progress`, `blocked`, `done`, `failed`, `canceled`, with
        `progress` (0..100), `result`, `note`. Raises: AgentdError."""
        call = calls.set_task_status(
            task_id,
            self._own_id(),
            {"status": status, **more},
            instance=self.instance,
        )
        return read(Task, self._request(call))

    # --- asking a person ---

    def ask(
        self,
        tool: str,
        summary: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - as the API names it
        *,
        within: int = 600,
    ) -> Approval:
        """Ask a person and wait for the answer, at most `within` seconds (from 5). Go on only if
        it is `allowed`; an exception means no as well. Raises: AgentdError."""
        fields: dict[str, Any] = {"tool": tool, "summary": summary, "expiresInSeconds": within}
        if input is not None:
            fields["input"] = dict(input)
        call = calls.ask(self._own_id(), fields, instance=self.instance, idempotency_key=_key(None))
        approval = read(Approval, self._request(call))
        try:
            while approval.status == ApprovalStatus.PENDING:
                asked = calls.approval(approval.id, wait=MAX_WAIT_SECONDS / 2)
                approval = read(Approval, self._request(asked))
        except BaseException:
            # Whoever asked does not wait any more.
            with suppress(AgentdError):
                self._http.request(calls.cancel_approval(approval.id, instance=self.instance))
            raise
        return approval

    # --- inside ---

    def _own_id(self) -> str:
        if self.id is None:
            raise AgentdError("this client has no agent: RelayClient('an-id') makes it one")
        return self.id

    def _send(self, fields: Mapping[str, Any], key: str | None) -> Message:
        return read(Message, self._request(calls.send(fields, idempotency_key=_key(key))))

    def _request(self, call: calls.Call) -> Any:
        """Carry a call out, again while that may help. Raises: AgentdError."""
        return insist(self._http, call, patience=self._patience, mended=self._come_back)

    def _come_back(self, refusal: RelayRefused) -> bool:
        """Register again where the relay has forgotten us; False when that is not it."""
        if not self._is_forgotten(refusal):
            return False
        self.register()
        return True

    def _is_forgotten(self, refusal: RelayRefused) -> bool:
        """Does the relay not know us any more? (It may mean whom we write to.)"""
        if refusal.code != "agent_not_found" or not self._registered or self._closing.is_set():
            return False
        try:
            self._http.request(calls.agent(self._own_id()))
        except RelayRefused as verdict:
            return verdict.code == "agent_not_found"
        return False

    def _arriving(self) -> Iterator[Message]:
        backoff = Backoff(*PAUSES)
        while not self._closing.is_set():
            try:
                for message in self._streamed():
                    backoff.reset()
                    yield message
                pause = 0.0
            except RelayUnreachable:
                pause = backoff.next_delay(random.random())  # noqa: S311
            except RelayRefused as refusal:
                if refusal.status == 503:
                    yield from self._polled()
                elif not (refusal.may_pass or self._come_back(refusal)):
                    raise named(refusal) from refusal
                pause = backoff.next_delay(random.random())  # noqa: S311
            self._closing.wait(pause)

    def _streamed(self) -> Iterator[Message]:
        """Until the relay ends the stream. Raises: RelayUnreachable, RelayRefused."""
        call = calls.stream([self._own_id()], machine=None)
        with self._http.stream(call) as events:
            for event in events:
                if event.type == "message":
                    yield read(Message, event.object()["message"])

    def _polled(self) -> Iterator[Message]:
        deadline = monotonic() + _POLLING_SECONDS
        while monotonic() < deadline and not self._closing.is_set():
            yield from self.poll(wait=20)

    def _beat(self) -> None:
        assert self._heartbeat_seconds is not None
        while not self._closing.wait(self._heartbeat_seconds):
            # A fenced-off run hears of it in its next call, a relay that is away in the next beat.
            with suppress(AgentdError):
                beat = calls.heartbeat(self._own_id(), instance=self.instance)
                insist(self._http, beat, patience=0, mended=self._come_back)


def _number(message: Message | int) -> int:
    return message if isinstance(message, int) else message.id


def _key(given: str | None) -> str:
    return given or f"python-{uuid.uuid4().hex}"
