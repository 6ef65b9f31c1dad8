"""Sessions of a person's terminal and of the daemon's own, in any order of deaths, stops and
restarts of the daemon: each moves along the table only, and none leaves a process behind."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relay_agentd.background import HostFailed, Patience
from relay_agentd.errors import ControlRefused
from relay_agentd.session_state import LIVE, TRANSITIONS, SessionState
from relay_agentd.store.sessions import SessionRow, SessionStore
from tests.agentd.harness import KEY, OTHER_KEY, DaemonParts, Processes, identity, until
from tests.support.host_provider import MARKER, HostProvider
from tests.support.memory_session import MemorySession
from tests.support.processes import end_all, marked

NOWHERE = "http://127.0.0.1:1"
QUICK = Patience(first_pause=0.02, longest_pause=0.05, quick_deaths=3, good_run=30.0, ready=5.0)
LEGAL = {(before, after) for (before, _), after in TRANSITIONS.items()}
TERMINAL, BACKGROUND = KEY, OTHER_KEY


class SessionMachine(RuleBasedStateMachine):
    """See the module."""

    @initialize()
    def begin(self) -> None:
        self.home = tempfile.TemporaryDirectory()
        self.mark = self.home.name
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr("relay_agentd.session._OFFLINE_SECONDS", 0.05)
        self.moves: list[tuple[SessionState, SessionState]] = []
        self._watch_moves()
        self.loop = asyncio.new_event_loop()
        self.processes = Processes()
        self.provider = HostProvider()
        self.session = MemorySession()
        self.begun: set[str] = set()
        self.loop.run_until_complete(self._start())

    def _watch_moves(self) -> None:
        real, moves = SessionStore.change, self.moves

        def change(store: SessionStore, row: SessionRow, **changes: Any) -> SessionRow:
            changed = real(store, row, **changes)
            if changed.state is not row.state:
                moves.append((row.state, changed.state))
            return changed

        self.patches.setattr(SessionStore, "change", change)

    async def _start(self) -> None:
        self.daemon = DaemonParts(
            NOWHERE, Path(self.home.name), self.session, hosts=self.provider, patience=QUICK
        )
        await self.daemon.__aenter__()

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        async def bounded() -> None:
            with suppress(ControlRefused, HostFailed):
                await asyncio.wait_for(work, 15)
            await asyncio.sleep(0.02)

        self.loop.run_until_complete(bounded())

    async def _launch(self) -> None:
        self.daemon.launch(self.launcher, self.child)

    async def _attach(self) -> None:
        if self.launcher.poll() is None and self.child.poll() is None:
            told = {"sessionId": None, "providerProcess": identity(self.child)}
            self.daemon.supervisor.attach(self.daemon.request(self.launcher), told)

    def _row(self, key: str) -> SessionRow | None:
        return self.daemon.store.sessions.find(key)

    # --- what may happen ---

    @rule()
    def person_starts_a_session(self) -> None:
        if TERMINAL not in self.begun:
            self.begun.add(TERMINAL)
            self.launcher, self.child = self.processes.start(), self.processes.start()
            self._run(self._launch())

    @rule(lives=st.sampled_from(["long", "broken", "0.05"]))
    def background_session_is_asked_for(self, lives: str) -> None:
        if BACKGROUND not in self.begun:
            self.begun.add(BACKGROUND)
            self.provider.lives = lives
            self._run(self.daemon.start_background(BACKGROUND, environment={MARKER: self.mark}))

    @rule()
    def launcher_says_again_what_it_said(self) -> None:
        if TERMINAL in self.begun:
            self._run(self._attach())

    @rule(who=st.sampled_from(["launcher", "child"]))
    def process_of_the_terminal_dies(self, who: str) -> None:
        if TERMINAL in self.begun:
            getattr(self, who).kill()
            getattr(self, who).wait()

    @rule()
    def host_dies(self) -> None:
        row = self._row(BACKGROUND)
        if row is not None and row.provider_process is not None:
            with suppress(ProcessLookupError):
                os.kill(row.provider_process.pid, signal.SIGKILL)

    @rule(key=st.sampled_from([TERMINAL, BACKGROUND]), force=st.booleans())
    def somebody_stops_it(self, key: str, force: bool) -> None:
        self._run(self.daemon.supervisor.stop_session(key, force=force))

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.3]))
    def time_passes(self, seconds: float) -> None:
        self._run(asyncio.sleep(seconds))

    @rule()
    def daemon_dies(self) -> None:
        self._run(self.daemon.die())
        self.loop.run_until_complete(self._start())

    # --- what must hold ---

    @invariant()
    def states_change_along_the_table_only(self) -> None:
        assert set(self.moves) <= LEGAL

    @invariant()
    def terminals_are_never_started_again(self) -> None:
        row = self._row(TERMINAL)
        assert row is None or row.state not in {SessionState.BACKOFF, SessionState.FATAL}

    @invariant()
    def one_host_at_most_runs_for_a_session(self) -> None:
        assert len(marked(MARKER, self.mark)) <= 1

    def teardown(self) -> None:
        if not hasattr(self, "daemon"):
            return
        try:
            for key in self.begun:
                self._run(self.daemon.supervisor.stop_session(key, force=True))
                self.loop.run_until_complete(until(partial(self._is_over, key), 12.0))
            assert marked(MARKER, self.mark) == []
            if TERMINAL in self.begun:
                assert self.child.wait(timeout=5) != 0
        finally:
            self.loop.run_until_complete(self.daemon.die())
            end_all(MARKER, self.mark)
            self.processes.end()
            self.loop.close()
            self.patches.undo()
            self.home.cleanup()

    def _is_over(self, key: str) -> bool:
        row = self._row(key)
        return row is None or row.state not in LIVE


TestSessions: Any = SessionMachine.TestCase
TestSessions.settings = settings(
    max_examples=10,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
