"""A generated life of a relay beside a plain model of it, through HTTP, with onlookers.

`RELAY_PROOF_EXAMPLES` and `--hypothesis-seed` make it run for as long as you like.
"""

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relay_server.clock import SystemClock
from tests.server.model import (
    ENDED,
    LOOP_LIMIT,
    OK,
    PRUNE_MS,
    SENDER_LIMIT,
    STALE_MS,
    UPDATES,
    Agent,
    Claim,
    Expected,
    Message,
    Model,
    Task,
)
from tests.server.onlookers import Onlookers
from tests.server.plain import Answer, PlainClient
from tests.server.running import RunningRelay
from tests.support.wait import eventually

IDS = ("a", "b", "c")
FOLLOWED = "w"
EVERYONE = (*IDS, FOLLOWED)
INTEGRATION = {"name": "ci", "token": "ci-secret", "scopes": ["tasks:create", "tasks:update"]}
TARGETS = ("a", "b", "tag:x", "tag:y", "cap:k", "label:Lead", "broadcast", "operator", "w")

statuses = st.sampled_from(("busy", "busy", "offline"))
spans = st.sampled_from((1, 999, 1000, 1000, 5000, 61_000, STALE_MS // 2, STALE_MS + 1, PRUNE_MS))

F = TypeVar("F", bound=Callable[..., None])
# Chosen evenly from: hypothesis itself would leave many rules out of each example.
ACTIONS: list[tuple[Callable[..., None], Any]] = []

agent_ids = st.sampled_from(IDS)
everyone = st.sampled_from(EVERYONE)
senders = st.sampled_from((*IDS, "operator"))
targets = st.sampled_from(TARGETS)
channels = st.sampled_from((None, None, None, "m", "n"))
# From the newest backwards: what just happened is what most rules are about.
picks = st.sampled_from((0, 0, 0, 1, 1, 2, 3, 6))
leases = st.sampled_from((1, 60, 900, 900))
instances = st.sampled_from((None, None, None, "i1", "i2", "i3"))
# `owner` is whoever holds what it is about.
workers = st.sampled_from(("owner", "owner", "owner", *IDS, "operator"))
descriptions = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.lists(st.sampled_from("xy"), unique=True),
        "capabilities": st.lists(st.just("k"), unique=True),
        "channels": st.lists(st.sampled_from("mn"), unique=True),
        "label": st.sampled_from((None, "lead", "LEAD")),
    },
)
states = st.sampled_from(("routed", "handed", "in_context", "read", "replied", "failed"))


def action(weight: int, **given: Any) -> Callable[[F], F]:
    """Something that may happen, so often; `given`: what its arguments are drawn from."""

    def mark(method: F) -> F:
        ACTIONS.extend([(method, st.fixed_dictionaries(given))] * weight)
        return method

    return mark


class StandInClock:
    """Time stands still until it is moved; waits are real ones."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return time.monotonic()


class RelayLife(RuleBasedStateMachine):
    """Each example has a database of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ar-life-"))
        self.clock = StandInClock()
        self.model = Model(self.clock.ms)
        self.keys_used: dict[str, tuple[Any, Any]] = {}
        self.relay = self._build()
        self.client = PlainClient(self.relay.server.port)
        self.onlookers = Onlookers(self.relay.server.port, FOLLOWED)

    def _build(self) -> RunningRelay:
        return RunningRelay(
            self.folder,
            self.clock,
            SystemClock(),
            AGENT_RELAY_SENDER_LIMIT=str(SENDER_LIMIT),
            AGENT_RELAY_LOOP_LIMIT=str(LOOP_LIMIT),
            STALE_TTL_MS=str(STALE_MS),
            OFFLINE_PRUNE_MS=str(PRUNE_MS),
            AGENT_RELAY_INTEGRATIONS=json.dumps([INTEGRATION]),
        )

    def teardown(self) -> None:
        try:
            self.nothing_is_forgotten()
            self.tasks_moved_along_their_table()
            self.what_is_open_was_shown_to_the_stream()
        finally:
            self.onlookers.stop()
            self.client.close()
            self.relay.stop()
            shutil.rmtree(self.folder)
        self.onlookers.check(self.model)

    # -- little helpers

    def _expect(self, answer: Answer, expected: Expected) -> bool:
        """Whether it succeeded, as it had to."""
        assert (answer.status, answer.code) == expected, answer.body
        return answer.status < 300

    def _who(self, named: str, claim: Claim) -> str:
        return (claim.owner or "a") if named == "owner" else named

    def _message(self, pick: int, *, only_work: bool = False) -> Message | None:
        found = [m for m in self.model.messages.values() if m.claimable or not only_work]
        return found[-1 - pick % len(found)] if found else None

    def _task(self, pick: int) -> Task | None:
        found = list(self.model.tasks.values())
        return found[-1 - pick % len(found)] if found else None

    # -- agents

    @initialize()
    def some_are_there(self) -> None:
        for agent_id in ("a", "b"):
            self.register(agent_id, "i1", {"tags": ["x"]})
        for to, claimable in (("tag:x", True), ("a", False), ("broadcast", False)):
            self.send("operator", to, None, claimable, None, None)
        self.reports_an_event("ci", "tag:x", "disk", None, resolved=False)
        self.claims_a_message("a", 3, 60, None)
        # It came when that was held already: only a release shows it to it.
        self.register(FOLLOWED, "i1", {"tags": ["x"]})

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(range(len(ACTIONS))))
        what, arguments = ACTIONS[number]
        given = data.draw(arguments, label=what.__name__)
        what(self, **given)

    @action(3, agent_id=everyone, instance=instances, given=descriptions)
    def register(self, agent_id: str, instance: str | None, given: dict[str, Any]) -> None:
        model = self.model
        known = model.agents.get(agent_id)
        body = {"id": agent_id, **given}
        if instance is not None:
            body["instanceId"] = instance
        answer = self.client.post("/api/agents", body)
        if known and instance in known.instances[:-1]:
            assert (answer.status, answer.code) == (409, "stale_instance")
            return
        assert answer.status == (200 if known else 201)
        agent = known or self._newcomer(agent_id)
        if instance is not None and instance not in agent.instances[-1:]:
            agent.instances.append(instance)
        self._describe(agent_id, given, by_person=False)
        model.sees(agent_id)
        assert answer.body["epoch"] >= len(agent.instances)

    def _newcomer(self, agent_id: str) -> Agent:
        self.model.agents[agent_id] = Agent(agent_id, self.model.newest)
        return self.model.agents[agent_id]

    def _describe(self, agent_id: str, given: dict[str, Any], *, by_person: bool) -> None:
        agent = self.model.agents[agent_id]
        for name in ("tags", "capabilities", "channels"):
            if name in given:
                setattr(agent, name, set(given[name]))
        if "label" in given:
            if by_person:
                agent.label, agent.has_label_of_person = given["label"], given["label"] is not None
            elif not agent.has_label_of_person:
                agent.label = given["label"]

    @action(6, agent_id=everyone, given=descriptions, instance=instances)
    def patch(self, agent_id: str, given: dict[str, Any], instance: str | None) -> None:
        answer = self._as(instance, "PATCH", f"/api/agents/{agent_id}", given)
        if self._acts(answer, agent_id, instance):
            self._describe(agent_id, given, by_person=True)

    def _as(self, instance: str | None, method: str, path: str, body: Any) -> Answer:
        headers = {"X_Agent_Instance": instance} if instance else {}
        return self.client.call(method, path, body, **headers)

    def _acts(self, answer: Answer, agent_id: str, instance: str | None) -> bool:
        if agent_id not in self.model.agents:
            return self._expect(answer, (404, "agent_not_found"))
        if self.model.is_zombie(agent_id, instance):
            return self._expect(answer, (409, "stale_instance"))
        return self._expect(answer, OK)

    @action(
        2,
        agent_id=everyone,
        status=st.sampled_from(("busy", "busy", "offline")),
        instance=instances,
    )
    def says_its_status(self, agent_id: str, status: str, instance: str | None) -> None:
        body = {"status": status}
        answer = self._as(instance, "PATCH", f"/api/agents/{agent_id}/status", body)
        if self._acts(answer, agent_id, instance):
            agent = self.model.agents[agent_id]
            if status == "offline":
                self.model.goes_offline(agent)
                agent.last_seen = self.model.now
            else:
                self.model.sees(agent_id)

    @action(1, agent_id=everyone, instance=instances)
    def beats(self, agent_id: str, instance: str | None) -> None:
        answer = self._as(instance, "POST", f"/api/agents/{agent_id}/heartbeat", {})
        if self._acts(answer, agent_id, instance):
            self.model.sees(agent_id)

    @action(2, pick=picks, instance=instances)
    def a_worker_leaves(self, pick: int, instance: str | None) -> None:
        """Most of all one that holds something."""
        work = self._message(pick, only_work=True)
        agent_id = self._who("owner", work.claim) if work else "c"
        if agent_id in (FOLLOWED, "operator"):
            return
        answer = self._as(instance, "DELETE", f"/api/agents/{agent_id}", None)
        if agent_id not in self.model.agents:
            self._expect(answer, (404, "agent_not_found"))
        elif self.model.is_zombie(agent_id, instance):
            self._expect(answer, (409, "stale_instance"))
        else:
            assert answer.status == 204
            self.model.releases_all(agent_id)
            del self.model.agents[agent_id]

    # -- messages

    @action(
        8,
        sender=senders,
        to=targets,
        channel=channels,
        claimable=st.booleans(),
        lifetime=st.sampled_from((None, None, None, 1, 30)),
        reply_to=st.none() | picks,
    )
    def send(
        self,
        sender: str,
        to: str,
        channel: str | None,
        claimable: bool,
        lifetime: int | None,
        reply_to: int | None,
    ) -> None:
        model = self.model
        body: dict[str, Any] = {"from": sender, "to": to, "body": "x", "channel": channel}
        body |= {"claimable": claimable, "expiresInSeconds": lifetime}
        original = None if reply_to is None else self._message(reply_to)
        if original is not None:
            body["replyTo"] = original.id
        answer = self.client.post("/api/messages", body)
        expected = model.may_send(sender)
        if expected == OK and ":" not in to and to != "broadcast" and to not in model.agents:
            expected = (404, "agent_not_found")
        if expected != OK:
            self._expect(answer, expected)
            return
        assert answer.status == 201, answer.body
        model.counts(sender)
        self._sent(
            answer.body,
            sender,
            to,
            channel=channel,
            claimable=claimable,
            reply_to=body.get("replyTo"),
            lifetime_ms=lifetime and lifetime * 1000,
        )

    def _sent(self, shown: dict[str, Any], sender: str, to: str, **more: Any) -> Message:
        assert shown["id"] > self.model.newest
        address = to.lower() if to.startswith("label:") else to
        message = self.model.adds(shown["id"], sender, address, **more)
        assert (shown["held"] is not None, shown["threadId"]) == (message.held, message.thread)
        return message

    @action(3, sender=senders, pick=picks)
    def replies_without_a_target(self, sender: str, pick: int) -> None:
        original = self._message(pick)
        if original is None:
            return
        answer = self.client.post(
            "/api/messages", {"from": sender, "body": "y", "replyTo": original.id}
        )
        expected = self.model.may_send(sender)
        if expected == OK and original.sender not in self.model.agents:
            expected = (404, "agent_not_found")
        if expected != OK:
            self._expect(answer, expected)
            return
        assert answer.status == 201, answer.body
        self.model.counts(sender)
        self._sent(answer.body, sender, original.sender, reply_to=original.id)

    @action(2, to=targets, key=st.sampled_from(("k1", "k2")), channel=channels)
    def sends_once(self, to: str, key: str, channel: str | None) -> None:
        body = {"from": "operator", "to": to, "body": "once", "channel": channel}
        answer = self.client.post("/api/messages", body, Idempotency_Key=key)
        if key in self.keys_used:
            first, shown = self.keys_used[key]
            if first == body:
                assert (answer.status, answer.body) == (201, shown)
                assert answer.headers["Idempotency-Replayed"] == "true"
            else:
                self._expect(answer, (422, "idempotency_mismatch"))
        elif ":" not in to and to != "broadcast" and to not in self.model.agents:
            self._expect(answer, (404, "agent_not_found"))
        else:
            assert answer.status == 201
            self.keys_used[key] = (body, answer.body)
            self._sent(answer.body, "operator", to, channel=channel)

    @action(1)
    def several_send_at_once(self) -> None:
        """The onlookers must see ids in the order of commits."""
        found: list[dict[str, Any]] = []

        def send() -> None:
            client = PlainClient(self.relay.server.port)
            for _ in range(2):
                body = {"from": "operator", "to": "broadcast", "body": "at once"}
                found.append(client.post("/api/messages", body).body)
            client.close()

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for shown in sorted(found, key=lambda shown: int(shown["id"])):
            self._sent(shown, "operator", "broadcast")

    @action(6, agent_id=everyone, limit=st.sampled_from((1, 3, 500)))
    def polls(self, agent_id: str, limit: int) -> None:
        answer = self.client.get(f"/api/messages?for={agent_id}&limit={limit}")
        if agent_id not in self.model.agents:
            self._expect(answer, (404, "agent_not_found"))
            return
        expected = self.model.unhanded(agent_id)
        self._is_page(answer, agent_id, expected, limit)

    @action(
        6,
        agent_id=everyone,
        back=st.sampled_from((0, 1, 2, 5, 1000, 1000)),
        limit=st.sampled_from((2, 500)),
    )
    def polls_since(self, agent_id: str, back: int, limit: int) -> None:
        since = max(0, self.model.newest - back)
        answer = self.client.get(f"/api/messages?for={agent_id}&since={since}&limit={limit}")
        if agent_id not in self.model.agents:
            self._expect(answer, (404, "agent_not_found"))
            return
        self._is_page(answer, agent_id, self.model.shown_since(agent_id, since), limit)

    def _is_page(self, answer: Answer, agent_id: str, expected: list[int], limit: int) -> None:
        found = [message["id"] for message in answer.body["messages"]]
        assert (found, answer.body["more"]) == (expected[:limit], len(expected) > limit)
        for shown in answer.body["messages"]:
            self._is_as_modelled(shown)
        for message_id in found:
            if not self.model.is_taken(agent_id, message_id):
                self.model.advance(agent_id, message_id, "routed")

    @action(
        8,
        agent_id=everyone,
        reports=st.lists(st.tuples(picks, states), max_size=4),
        instance=instances,
    )
    def acknowledges(
        self, agent_id: str, reports: list[tuple[int, str]], instance: str | None
    ) -> None:
        found = [(m, state) for pick, state in reports if (m := self._message(pick)) is not None]
        if agent_id == FOLLOWED and agent_id in self.model.agents:
            # Whether its stream has shown it others is for the stream to know.
            agent = self.model.agents[agent_id]
            found = [(m, state) for m, state in found if self.model.receives(agent, m)]
        body = {"receipts": [{"messageId": m.id, "state": state} for m, state in found]}
        answer = self._as(instance, "POST", f"/api/agents/{agent_id}/ack", body)
        if not self._acts(answer, agent_id, instance):
            return
        model = self.model
        unknown = {m.id for m, _ in found if not model.knows(agent_id, m.id)}
        for message, state in found:
            if message.id not in unknown:
                model.advance(agent_id, message.id, state)
        assert answer.body["unknown"] == sorted(unknown)
        self._cursor_is_right(agent_id, answer.body["cursor"])
        for message in {m.id: m for m, _ in found}.values():
            self._receipts_are_as_modelled(message)

    @action(8, agent_id=everyone, state=st.sampled_from(("handed", "in_context")))
    def takes_all_there_is(self, agent_id: str, state: str) -> None:
        """As an honest client does; only so do cursors move far."""
        if agent_id not in self.model.agents:
            return
        self.polls(agent_id, 500)
        found = self.model.unhanded(agent_id)
        body = {"receipts": [{"messageId": m, "state": state} for m in found]}
        answer = self.client.post(f"/api/agents/{agent_id}/ack", body)
        for message_id in found:
            self.model.advance(agent_id, message_id, state)
        assert answer.body["unknown"] == []
        agent = self.model.agents[agent_id]
        newest = self.model.shown_since(agent_id, agent.inbox_start)
        # A report that changes nothing does not move it over what has expired meanwhile.
        assert not found or answer.body["cursor"] >= max(newest, default=0)
        self.polls(agent_id, 500)

    def _cursor_is_right(self, agent_id: str, cursor: int) -> None:
        model, agent = self.model, self.model.agents[agent_id]
        waiting = [
            m
            for m in model.unhanded(agent_id)
            # Those are shown although they are late.
            if m > agent.inbox_start and not model.messages[m].was_let_through
        ]
        assert not [m for m in waiting if m <= cursor]

    @action(3, agent_id=agent_ids, pick=picks)
    def reads(self, agent_id: str, pick: int) -> None:
        message = self._message(pick)
        if message is None:
            return
        answer = self.client.post(f"/api/messages/{message.id}/read", {"agentId": agent_id})
        if agent_id not in self.model.agents:
            self._expect(answer, (404, "agent_not_found"))
        elif not self.model.knows(agent_id, message.id):
            self._expect(answer, (404, "message_not_found"))
        else:
            self._expect(answer, OK)
            self.model.advance(agent_id, message.id, "read")
            assert answer.body["state"] == self.model.states[agent_id, message.id]

    @action(1, pick=picks)
    def somebody_deletes_a_message(self, pick: int) -> None:
        message = self._message(pick)
        if message is None:
            return
        assert self.client.call("DELETE", f"/api/messages/{message.id}").status == 204
        self.model.deletes(message.id)

    @action(3, pick=picks)
    def an_operator_lets_a_message_through(self, pick: int) -> None:
        held = [m for m in self.model.messages.values() if m.held]
        message = held[-1] if held else self._message(pick)
        if message is None:
            return
        answer = self.client.post(f"/api/messages/{message.id}/deliver")
        if self._expect(answer, OK if message.held else (409, "invalid_transition")):
            message.held, message.was_let_through = False, True

    # -- work

    @action(8, agent_id=senders, pick=picks, seconds=leases, instance=instances)
    def claims_a_message(
        self, agent_id: str, pick: int, seconds: int, instance: str | None
    ) -> None:
        message = self._message(pick, only_work=True) or self._message(0)
        if message is None:
            return
        body = {"agentId": agent_id, "leaseSeconds": seconds}
        answer = self._as(instance, "POST", f"/api/messages/{message.id}/claim", body)
        if self.model.is_zombie(agent_id, instance):
            self._expect(answer, (409, "stale_instance"))
            return
        holder = (
            message.claim.ended_by
            if message.claim.is_completed
            else message.claim.holder(self.model.now)
        )
        expected = self.model.claims_message(agent_id, message.id, seconds * 1000)
        if self._expect(answer, expected):
            self._is_as_modelled(answer.body)
        elif answer.code == "already_claimed":
            assert answer.body["claimedBy"] == holder

    @action(
        6,
        agent_id=workers,
        pick=picks,
        verb=st.sampled_from(("release", "complete")),
        result=st.sampled_from((None, "done", {"rows": 1})),
    )
    def gives_back_or_completes_a_message(
        self, agent_id: str, pick: int, verb: str, result: Any
    ) -> None:
        message = self._message(pick, only_work=True)
        if message is None:
            return
        agent_id = self._who(agent_id, message.claim)
        body = {"agentId": agent_id}
        if verb == "complete" and result is not None:
            body["result"] = result
        answer = self.client.post(f"/api/messages/{message.id}/{verb}", body)
        if agent_id not in self.model.agents:
            self._expect(answer, (404, "agent_not_found"))
        elif not self.model.holds(agent_id, message.claim):
            self._expect(answer, (409, "not_owner"))
        elif message.claim.is_completed:
            self._expect(answer, OK if verb == "complete" else (409, "not_claimable"))
        else:
            self._expect(answer, OK)
            if verb == "release":
                self.model.frees(message.claim)
            else:
                self.model.ends(message.claim, agent_id)
                self._result_is_told(agent_id, message, body.get("result"))
            self._is_as_modelled(answer.body)

    def _result_is_told(self, agent_id: str, message: Message, result: Any) -> None:
        if result is None:
            return
        thread = self.client.get(f"/api/messages/{message.id}/thread").body["messages"]
        shown = thread[-1]
        assert (shown["from"], shown["to"]) == (agent_id, message.sender)
        self._sent(shown, agent_id, message.sender, reply_to=message.id)

    @action(9, agent_id=senders, pick=picks, seconds=leases, instance=instances)
    def claims_a_task(self, agent_id: str, pick: int, seconds: int, instance: str | None) -> None:
        task = self._task(pick)
        if task is None:
            return
        body = {"agentId": agent_id, "leaseSeconds": seconds}
        answer = self._as(instance, "POST", f"/api/tasks/{task.id}/claim", body)
        if self.model.is_zombie(agent_id, instance):
            self._expect(answer, (409, "stale_instance"))
            return
        holder = task.claim.holder(self.model.now)
        if self._expect(answer, self.model.claims_task(agent_id, task.id, seconds * 1000)):
            self._task_is_as_modelled(answer.body)
        elif answer.code == "already_claimed":
            assert answer.body["claimedBy"] == holder

    @action(2, agent_id=workers, pick=picks)
    def gives_a_task_back(self, agent_id: str, pick: int) -> None:
        task = self._task(pick)
        if task is None:
            return
        agent_id = self._who(agent_id, task.claim)
        answer = self.client.post(f"/api/tasks/{task.id}/release", {"agentId": agent_id})
        if agent_id not in self.model.agents:
            self._expect(answer, (404, "agent_not_found"))
        elif task.written in ENDED:
            self._expect(answer, (409, "invalid_transition"))
        elif not self.model.holds(agent_id, task.claim):
            self._expect(answer, (409, "not_owner"))
        else:
            self._expect(answer, OK)
            self.model.frees(task.claim)
            self._task_is_as_modelled(answer.body)

    @action(
        9,
        by=st.sampled_from((*IDS, "operator", "ci")),
        pick=picks,
        status=st.sampled_from(("open", "claimed", *(("in_progress", "blocked") * 3), *ENDED)),
    )
    def updates_a_task(self, by: str, pick: int, status: str) -> None:
        task = self._task(pick)
        if task is None:
            return
        model, by = self.model, self._who(by, task.claim)
        headers = {"X_Agent_Relay_Token": "ci-secret"} if by == "ci" else {}
        body = {"status": status} if by == "ci" else {"status": status, "agentId": by}
        answer = self.client.call("PATCH", f"/api/tasks/{task.id}/status", body, **headers)
        before = task.status(model.now)
        owner = task.claim.owner if task.written in ENDED else task.claim.holder(model.now)
        if by not in ("ci", *model.agents):
            expected: Expected = (404, "agent_not_found")
        elif by != "operator" and not (task.by_integration if by == "ci" else owner == by):
            expected = (409, "not_owner")
        elif status not in UPDATES.get(before, ()):
            expected = (409, "invalid_transition")
        else:
            expected = OK
        if self._expect(answer, expected):
            model.settle()
            if status in ENDED:
                model.ends(task.claim, by, status)
            else:
                task.written = status
            self._task_is_as_modelled(answer.body)

    @action(
        6,
        by=st.sampled_from(("a", "b", "operator", "ci", "ci")),
        to=targets,
        key=st.sampled_from((None, "disk", "disk", "cpu")),
        channel=channels,
        resolved=st.sampled_from((False, False, True)),
    )
    def reports_an_event(
        self, by: str, to: str, key: str | None, channel: str | None, resolved: bool
    ) -> None:
        model, is_ci = self.model, by == "ci"
        body: dict[str, Any] = {"title": "t", "target": to, "channel": channel}
        if key is not None:
            body["dedupeKey"] = key
        if resolved and key is not None:
            body["status"] = "resolved"
        if is_ci:
            answer = self.client.post(
                "/api/integrations/events", body, X_Agent_Relay_Token="ci-secret"
            )
            shown = answer.body.get("task")
        else:
            answer = self.client.post("/api/tasks", {**body, "from": by})
            shown = answer.body
        expected = OK if is_ci else model.may_send(by)
        if expected != OK:
            self._expect(answer, expected)
            return
        active = model.active(by, key, by_integration=is_ci)
        if "status" in body:
            self._resolves(answer, active, is_ci=is_ci)
        elif active is not None:
            self._expect(answer, OK)
            active.occurrences += 1
            self._task_is_as_modelled(shown)
        elif ":" not in to and to != "broadcast" and to not in model.agents:
            self._expect(answer, (404, "agent_not_found"))
        else:
            assert answer.status == 201, answer.body
            if not is_ci:
                model.counts(by)
            message_id = shown["messageId"]
            sender = "system" if is_ci else by
            message = self._sent(
                self.client.get(f"/api/messages/{message_id}").body, sender, to,
                channel=channel, claimable=True,
            )  # fmt: skip
            assert shown["id"] > max(model.tasks, default=0)
            message.task = shown["id"]
            model.tasks[shown["id"]] = Task(shown["id"], by, is_ci, key, message_id, message.claim)
            self._task_is_as_modelled(shown)

    def _resolves(self, answer: Answer, active: Task | None, *, is_ci: bool) -> None:
        if active is None:
            if is_ci:
                assert (answer.status, answer.body["task"]) == (200, None)
            else:
                self._expect(answer, (404, "task_not_found"))
            return
        self._expect(answer, OK)
        self.model.ends(active.claim, active.source)
        self._task_is_as_modelled(answer.body["task"] if is_ci else answer.body)

    # -- time, and the relay itself

    @action(2, agent_id=agent_ids, pick=picks)
    def an_owner_falls_silent(self, agent_id: str, pick: int) -> None:
        """By itself it would seldom hold a lease that is longer than its silence."""
        self.claims_a_message(agent_id, pick, 900, None)
        self.time_passes(STALE_MS + 1)

    @action(
        5,
        ms=st.sampled_from((1, 1, 999, 1000, 1000, 5000, 30_000, 61_000, STALE_MS // 2, PRUNE_MS)),
    )
    def time_passes(self, ms: int) -> None:
        self.clock.ms += ms
        self.model.now = self.clock.ms
        is_due = any(
            a.last_seen < self.model.now - STALE_MS or a.is_offline
            for a in self.model.agents.values()
        )
        if is_due:
            self.the_sweeper_passes()

    @action(2)
    def the_sweeper_passes(self) -> None:
        self.relay.relay.sweeper.sweep(self.clock.ms)
        self.model.sweep()

    @action(1)
    def the_relay_starts_anew(self) -> None:
        self.onlookers.pause()
        self.client.close()
        self.relay.stop()
        self.relay = self._build()
        self.client = PlainClient(self.relay.server.port)
        self.model.sent.clear()
        self.onlookers.go_on(self.relay.server.port)

    # -- what always holds

    def _claim(self, claim: Claim) -> tuple[str, bool] | None:
        if claim.is_completed:
            return (str(claim.ended_by), True)
        holder = claim.holder(self.model.now)
        return (holder, False) if holder else None

    def _is_as_modelled(self, shown: dict[str, Any]) -> None:
        message = self.model.messages[shown["id"]]
        claim = shown["claim"]
        found = claim and (claim["agentId"], claim["completedAt"] is not None)
        assert found == self._claim(message.claim), shown
        assert (shown["held"] is not None) == message.held

    def _task_is_as_modelled(self, shown: dict[str, Any]) -> None:
        task = self.model.tasks[shown["id"]]
        assert shown["status"] == task.status(self.model.now), shown
        assert shown["occurrenceCount"] == task.occurrences
        holder = task.claim.holder(self.model.now)
        assert shown["claimedBy"] == (task.claim.owner if task.written in ENDED else holder), shown
        assert (shown["leaseExpiresAt"] is not None) == (task.written not in ENDED and bool(holder))

    @invariant()
    def nothing_is_forgotten(self) -> None:
        model = self.model
        messages = self.client.get("/api/messages?limit=500").body["messages"]
        assert [m["id"] for m in messages] == sorted(model.messages, reverse=True)
        for shown in messages:
            self._is_as_modelled(shown)
        # One by one: a list sweeps before it shows, and what is unswept is to be met by all.
        for task_id in model.tasks:
            self._task_is_as_modelled(self.client.get(f"/api/tasks/{task_id}").body)
        agents = {a["id"]: a for a in self.client.get("/api/agents").body["agents"]}
        assert set(agents) == set(model.agents)
        for agent_id, shown in agents.items():
            is_offline = model.agents[agent_id].is_offline
            assert (shown["status"] == "offline") == is_offline, shown
            self._cursor_is_right(agent_id, shown["cursor"])

    @action(2, status=st.sampled_from(("open", "claimed", "in_progress", "done")))
    def somebody_lists_tasks(self, status: str) -> None:
        found = self.client.get(f"/api/tasks?status={status}&limit=500").body["tasks"]
        for shown in found:
            self._task_is_as_modelled(shown)
        expected = {t.id for t in self.model.tasks.values() if t.status(self.model.now) == status}
        assert {task["id"] for task in found} == expected

    @action(3, pick=picks)
    def somebody_looks_at_receipts(self, pick: int) -> None:
        message = self._message(pick)
        if message is not None:
            self._receipts_are_as_modelled(message)

    def _receipts_are_as_modelled(self, message: Message) -> None:
        model = self.model
        shown = self.client.get(f"/api/messages/{message.id}").body["receipts"]
        for receipt in shown:
            pair = (receipt["agentId"], message.id)
            if model.is_taken(*pair):
                assert receipt["state"] == model.states[pair], receipt
            elif message.held:
                assert receipt["state"] == "held"
            elif message.is_expired(model.now):
                assert receipt["state"] == "expired"
            else:
                assert receipt["state"] in ("stored", "routed", "failed")
        receivers = {a.id for a in model.agents.values() if model.receives(a, message)}
        assert receivers <= {receipt["agentId"] for receipt in shown}

    def tasks_moved_along_their_table(self) -> None:
        ways = {name: {*ways, "open", name} for name, ways in UPDATES.items()}
        ways["open"] = {"open", "claimed", *ENDED}
        ways["claimed"] -= {"claimed"}
        for task in self.model.tasks.values():
            events = self.client.get(f"/api/tasks/{task.id}/events").body["events"]
            assert [e["id"] for e in events] == sorted({e["id"] for e in events})
            before = "open"
            for event in events:
                is_fold = event["type"] == "task.deduped"
                assert event["status"] == before if is_fold else event["status"] in ways[before]
                before = event["status"]
                if before in ENDED:
                    assert event is events[-1], events
            folds = sum(e["type"] == "task.deduped" for e in events)
            assert (events[0]["type"], folds + 1) == ("task.created", task.occurrences)

    def what_is_open_was_shown_to_the_stream(self) -> None:
        if FOLLOWED not in self.model.agents:
            return
        wanted = set(self.model.unhanded(FOLLOWED))
        eventually(
            lambda: wanted <= self.onlookers.streamed,
            message=lambda: f"the stream never showed {wanted - self.onlookers.streamed}",
        )


_EXAMPLES = os.environ.get("RELAY_PROOF_EXAMPLES")
RelayLife.TestCase.settings = settings(
    max_examples=int(_EXAMPLES or 50),
    stateful_step_count=60,
    deadline=None,
    derandomize=_EXAMPLES is None,
    database=None,
    print_blob=False,
    phases=(Phase.generate, Phase.shrink) if _EXAMPLES else (Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
TestRelayLife = RelayLife.TestCase
