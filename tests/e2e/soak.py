"""Ten background sessions that chat for as long as one likes while things keep being killed.

The chat: the operator tells a session to write to another one; whatever the relay then holds has to
be in its receiver's context, once, when it is over. The faults: every few seconds something is
killed, ended or stopped for a while. Everything random comes from one seed, which a failure names.
"""

import contextlib
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from tests.e2e.stack import Stack, tool
from tests.support.processes import marked
from tests.support.providers import MARKER, CliName
from tests.support.standin import Recorded
from tests.support.wait import eventually

SETTLE_SECONDS = 90.0
_CHAT_SECONDS = 0.8
_STOP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Member:
    """One background session."""

    name: str
    cli: CliName
    agent_id: str

    @property
    def sign(self) -> str:
        """What tells its model's requests from all others: it stands in its first prompt."""
        return f"you are {self.name} of the soak"


@dataclass
class Footprint:
    """Memory and descriptors of relay and daemon over time, by the name of the program."""

    memory: dict[str, list[int]] = field(default_factory=dict)
    descriptors: dict[str, list[int]] = field(default_factory=dict)

    def sample(self, name: str, process: psutil.Process) -> None:
        """Look once; a process that has just died is looked at the next time."""
        with contextlib.suppress(psutil.Error):
            memory, descriptors = process.memory_info().rss, process.num_fds()
            self.memory.setdefault(name, []).append(memory)
            self.descriptors.setdefault(name, []).append(descriptors)

    def growth(self, series: dict[str, list[int]], name: str) -> tuple[float, float]:
        """The medians of the first and the last third."""
        values = series[name]
        third = max(1, len(values) // 3)
        return statistics.median(values[:third]), statistics.median(values[-third:])


class Soak:
    """See the module."""

    def __init__(self, stack: Stack, clis: list[CliName], seed: int) -> None:
        self.stack = stack
        self.random = random.Random(seed)
        self.footprint = Footprint()
        self.faults: Counter[str] = Counter()
        stack.relay_agentd("up")
        self.members = [self._launch(f"soak-{index}", cli) for index, cli in enumerate(clis)]

    # --- the run ---

    def run(self, seconds: float, fault_seconds: float) -> None:
        """Chat and break things; all is up again when it returns."""
        began = time.monotonic()
        next_fault = began + fault_seconds
        next_sample = began
        while (now := time.monotonic()) < began + seconds:
            if now >= next_fault:
                self._break_something()
                next_fault = time.monotonic() + self.random.uniform(0.5, 1.5) * fault_seconds
            if now >= next_sample:
                self._sample()
                next_sample = now + 2.0
            self._chat()
            time.sleep(_CHAT_SECONDS)
        self._up()

    def settle(self) -> None:
        """Wait until everything that was said has arrived.

        Raises:
            AssertionError: something did not; it says what.
        """
        eventually(lambda: not self.open_messages(), SETTLE_SECONDS, message=self._what_is_open)

    # --- what came of it ---

    def messages(self) -> list[dict[str, Any]]:
        """All that the relay holds for the members, oldest first."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        while True:
            params = {"limit": 500} | ({} if before is None else {"before": before})
            page = self.stack.client.get("/api/messages", params=params).raise_for_status().json()
            found += page["messages"]
            if not page["more"]:
                break
            before = page["messages"][-1]["id"]
        ids = {member.agent_id for member in self.members}
        return sorted((each for each in found if each["to"] in ids), key=lambda each: each["id"])

    def open_messages(self) -> list[tuple[int, str]]:
        """(message, state) of those not proved yet."""
        open_ones = []
        for message in self.messages():
            answer = self.stack.client.get(f"/api/messages/{message['id']}").raise_for_status()
            states = [receipt["state"] for receipt in answer.json()["receipts"]]
            if not states or not set(states) <= {"in_context", "read", "replied"}:
                open_ones.append((message["id"], ",".join(states) or "no receipt"))
        return open_ones

    def context(self, member: Member) -> list[int]:
        """The messages in a member's context when its model was asked last."""
        return self._last_request(member).message_ids()

    def expected(self, member: Member) -> list[int]:
        """The messages the relay holds for it."""
        return [each["id"] for each in self.messages() if each["to"] == member.agent_id]

    # --- inside ---

    def _launch(self, name: str, cli: CliName) -> Member:
        folder = self.stack.home.project / name
        folder.mkdir()
        agent = self.stack.background(
            cli,
            options=("--label", name, "--cwd", str(folder)),
            prompt=f"you are {name} of the soak [[say: ready]]",
        )
        return Member(name, cli, agent)

    def _chat(self) -> None:
        sender, receiver = self.random.sample(self.members, 2)
        words = tool("relay_send", to=receiver.agent_id, body="hello from " + sender.name)
        # The relay may be down at this very moment.
        with contextlib.suppress(Exception):
            self.stack.send(sender.agent_id, f"write to your colleague {words}")

    def _break_something(self) -> None:
        name, act = self.random.choice(self._breakages())
        self.faults[name] += 1
        act()
        self._up()

    def _breakages(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("daemon killed", lambda: self._signal(self._daemon(), signal.SIGKILL)),
            ("daemon ended", lambda: self._signal(self._daemon(), signal.SIGTERM)),
            ("daemon stopped", lambda: self._hang(self._daemon())),
            ("relay killed", lambda: self._signal(self._relay(), signal.SIGKILL)),
            ("relay ended", lambda: self._signal(self._relay(), signal.SIGTERM)),
            ("relay stopped", lambda: self._hang(self._relay())),
            ("host killed", lambda: self._signal(self._host(), signal.SIGKILL)),
            ("host ended", lambda: self._signal(self._host(), signal.SIGTERM)),
            ("host stopped", lambda: self._hang(self._host())),
        ]

    def _up(self) -> None:
        self.stack.relay_agentd("up")

    def _daemon(self) -> psutil.Process | None:
        return self._serving("relay_agentd")

    def _relay(self) -> psutil.Process | None:
        return self._serving("relay_server")

    def _serving(self, module: str) -> psutil.Process | None:
        with contextlib.suppress(AssertionError):
            return self.stack.daemon() if module == "relay_agentd" else self.stack.relay()
        return None

    def _host(self) -> psutil.Process | None:
        """The host of a random session, as the process table shows it."""
        hosts = []
        for process in marked(MARKER, str(self.stack.home.path)):
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if "app-server" in words or any("stream_bridge.py" in word for word in words):
                    hosts.append(process)
        return self.random.choice(hosts) if hosts else None

    def _signal(self, process: psutil.Process | None, signum: signal.Signals) -> None:
        if process is not None:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signum)
                psutil.wait_procs([process], timeout=10)

    def _hang(self, process: psutil.Process | None) -> None:
        if process is not None:
            with contextlib.suppress(psutil.Error):
                process.suspend()
                try:
                    time.sleep(_STOP_SECONDS)
                finally:
                    process.resume()

    def _sample(self) -> None:
        for name, process in (("daemon", self._daemon()), ("relay", self._relay())):
            if process is not None:
                self.footprint.sample(name, process)

    def _last_request(self, member: Member) -> Recorded:
        model = self.stack.models["codex" if member.cli == "codex" else "claude"]
        own = [
            request
            for request in model.main_requests
            if any(member.sign in text for text in request.texts)
        ]
        assert own, f"{member.name} was never asked"
        return own[-1]

    def _what_is_open(self) -> str:
        return f"not proved: {self.open_messages()[:20]}\n{self.stack.relay_agentd('ps')}"
