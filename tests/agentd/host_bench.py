"""One machine's folder over several daemons, and the real hosts that live in it."""

from pathlib import Path

from relay_agentd.background import Patience
from relay_agentd.session_state import SessionState
from relay_agentd.settings import Settings
from relay_agentd.store.sessions import SessionRow
from tests.agentd.harness import KEY, DaemonParts, until
from tests.support.host_provider import MARKER, HostProvider
from tests.support.memory_session import MemorySession
from tests.support.processes import marked

QUICK = Patience(first_pause=0.05, longest_pause=0.1, quick_deaths=3, good_run=60.0)


class Bench:
    """One machine's folder, over several daemons, and the hosts that live in it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.mark = str(folder)
        self.provider = HostProvider()
        self.machine = "box"
        self.settings = Settings(url=url)
        self.session = MemorySession(id=f"conversation in {folder.name}")

    def daemon(self, patience: Patience = QUICK) -> DaemonParts:
        """The daemon, or the next one."""
        return DaemonParts(
            self.url,
            self.folder,
            self.session,
            hosts=self.provider,
            patience=patience,
            settings=self.settings,
            machine=self.machine,
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the person's shell has."""
        return {MARKER: self.mark}

    def hosts(self) -> list[int]:
        """The pids of all hosts."""
        return [process.pid for process in marked(MARKER, self.mark)]


def row_of(daemon: DaemonParts) -> SessionRow:
    row = daemon.store.sessions.find(KEY)
    assert row is not None
    return row


async def until_state(daemon: DaemonParts, state: SessionState) -> None:
    await until(lambda: row_of(daemon).state is state)


def pid_of(daemon: DaemonParts) -> int:
    process = row_of(daemon).provider_process
    assert process is not None
    return process.pid
