"""Whatever happens in whatever order, and wherever the daemon dies of it: each message comes into
a context once and in its sender's order, reaches the relay once and in order, and no receipt says
more than is true."""

import tempfile
from pathlib import Path
from typing import Any, get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.agentd.crash_world import NAMES, World
from tests.support.memory_session import How

NAME = st.sampled_from(NAMES)


class CrashMachine(RuleBasedStateMachine):
    """See the module."""

    world: World

    @initialize()
    def begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self._folder.name))
        self._calls = 0

    # --- what may happen ---

    @rule(sender=NAME, to=st.sampled_from((*NAMES, "broadcast", "far")))
    def say(self, sender: str, to: str) -> None:
        if sender != to:
            self.world.say(sender, to)

    @rule(to=st.sampled_from((*NAMES, "broadcast")))
    def post(self, to: str) -> None:
        self.world.post(to)

    @rule()
    def relay_goes(self) -> None:
        self.world.relay.is_away = True

    @precondition(lambda self: self.world.relay.is_away)
    @rule()
    def relay_comes_back(self) -> None:
        self.world.relay.is_away = False
        self.world.outbox.retry()

    @rule()
    def answer_will_be_lost(self) -> None:
        self.world.relay.loses_answers = 1

    @rule(name=NAME)
    def offer(self, name: str) -> None:
        self.world.offer(name)

    @rule(is_answer_lost=st.booleans())
    def report(self, is_answer_lost: bool) -> None:
        self.world.report(is_answer_lost=is_answer_lost)

    @rule(name=NAME, way=st.sampled_from(get_args(How)))
    def way_changes(self, name: str, way: How) -> None:
        self.world.sessions[name].way = way

    @rule(name=NAME)
    def ready(self, name: str) -> None:
        with self.world.powered():
            self.world.couriers[name].ready()

    @rule(name=NAME)
    def hook_asks(self, name: str) -> None:
        self.world.answer_bell(name)

    @rule(name=NAME)
    def tool_takes(self, name: str) -> None:
        self._calls += 1
        self.world.take(name, f"take-{self._calls}")

    @rule(name=NAME)
    def turn_ends(self, name: str) -> None:
        self.world.end_turn(name)

    @rule(seconds=st.sampled_from((0.01, 0.2, 3.5, 11.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(seconds=st.sampled_from((-86400.0, 0.0, 86400.0)))
    def wall_clock_jumps(self, seconds: float) -> None:
        self.world.time.set_wall_clock(seconds)

    @rule(writes=st.integers(0, 6), is_written=st.booleans())
    def power_will_fail(self, writes: int, is_written: bool) -> None:
        self.world.power.cut_at(writes, is_written=is_written)

    @rule()
    def daemon_is_killed(self) -> None:
        self.world.restart()

    # --- what must hold ---

    @invariant()
    def nothing_is_in_a_context_twice(self) -> None:
        for name in NAMES:
            doubled = {text: n for text, n in self.world.seen(name).items() if n > 1}
            assert not doubled, (name, doubled)

    @invariant()
    def each_senders_messages_come_in_order(self) -> None:
        for name in NAMES:
            _expect_order(self.world.pushed(name))

    @invariant()
    def relay_has_each_message_once_and_in_order(self) -> None:
        bodies = self.world.relay.bodies()
        assert len(set(bodies)) == len(bodies), bodies
        _expect_order(bodies)

    @invariant()
    def receipts_say_no_more_than_is_true(self) -> None:
        bodies = {message["id"]: message["body"] for message in self.world.relay.messages}
        for (name, number), state in self.world.receipts.items():
            if state in {"in_context", "read"}:
                assert bodies[number] in self.world.seen(name), (name, number, state)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.world.heal()
            self._expect_all_arrived()
        finally:
            self.world.close()
            self._folder.cleanup()

    def _expect_all_arrived(self) -> None:
        relay = self.world.relay
        assert sorted(relay.bodies()) == sorted(self.world.said)
        for name in NAMES:
            meant = [m for m in relay.messages if m["to"] in (name, "broadcast")]
            wanted = {m["body"]: m["id"] for m in meant if m["from"] != name}
            assert self.world.seen(name) == dict.fromkeys(wanted, 1)
            _expect_order(self.world.pushed(name))
            told = {number for agent, number in self.world.receipts if agent == name}
            assert told == set(wanted.values())
            states = {self.world.receipts[name, number] for number in wanted.values()}
            assert states <= {"in_context", "read"}, states


def _expect_order(texts: list[str]) -> None:
    last: dict[str, int] = {}
    for text in texts:
        sender, _, number = text.rstrip(".").partition("-")
        assert last.get(sender, -1) < int(number), texts
        last[sender] = int(number)


TestCrashes: Any = CrashMachine.TestCase
TestCrashes.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
