"""The daemon: puts its parts together, and starts and stops them in order.

    start  folders, lock, log, store, sessions of before, control socket, link and outbox, MCP
    stop   the same backwards; no session ends

Everything runs on one event loop; only imports and walks over the process table use threads.
"""

import asyncio
import fcntl
import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Final

from relay_agentd import __version__
from relay_agentd.adapters.registry import BUILT_IN
from relay_agentd.approval_desk import ApprovalDesk
from relay_agentd.clock import monotonic, now
from relay_agentd.commands import Commands
from relay_agentd.control import ControlServer, Tools
from relay_agentd.control_client import ControlClient
from relay_agentd.errors import AlreadyRunning, DaemonUnreachable, StoreUnusable
from relay_agentd.launch_rules import LaunchDefaults
from relay_agentd.log import log_to
from relay_agentd.machine_name import settle_machine_name
from relay_agentd.neighbours import LocalAgents
from relay_agentd.outbox import Outbox
from relay_agentd.paths import Paths, make_private
from relay_agentd.plain_codex import PlainCodex
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_link import RelayLink
from relay_agentd.session import Machine
from relay_agentd.session_backend import SessionBackend
from relay_agentd.session_folder import trim_log
from relay_agentd.settings import Settings
from relay_agentd.store import Store
from relay_agentd.supervisor import Supervisor

log = logging.getLogger(__name__)

_REMEMBERED_SECONDS: Final = 30 * 86400
_TIDY_SECONDS: Final = 6 * 3600
# One that is on its way out, or was started at the same moment, needs no longer.
_HANDOVER_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05
_MCP: Final = "relay_agentd.mcp_server"


def run_daemon(settings: Settings, paths: Paths) -> int:
    """Serve until SIGTERM or SIGINT; the exit status.

    Raises: AlreadyRunning, StoreUnusable, FolderUnsafe.
    """
    for folder in (paths.state, paths.logs, paths.runtime):
        make_private(folder)
    with _only_one(paths):
        log_to(paths.daemon_log)
        store = Store(paths.database)
        try:
            asyncio.run(_serve(settings, paths, store))
        except Exception:
            log.exception("the daemon failed")
            raise
        finally:
            store.close()
            logging.shutdown()
    return 0


async def _serve(settings: Settings, paths: Paths, store: Store) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    async with AsyncRelayClient(settings.url, settings.token) as client:
        name = await settle_machine_name(
            paths.machine_file, client, is_new=store.sessions.is_empty()
        )
        daemon = _Daemon(settings, name, paths, store, client)
        await daemon.supervisor.start()
        await daemon.control.start(paths.control_socket)
        log.info("serving, pid %d, relay %s", os.getpid(), settings.url)
        try:
            await daemon.work_until(stopping)
        finally:
            await daemon.control.stop()
            await daemon.commands.stop()
            await daemon.desk.stop()
            await daemon.supervisor.stop()
            paths.control_socket.unlink(missing_ok=True)
            log.info("stopped")


class _Daemon:
    """The parts, wired."""

    def __init__(
        self,
        settings: Settings,
        machine_id: str,
        paths: Paths,
        store: Store,
        client: AsyncRelayClient,
    ) -> None:
        self._settings = settings
        self._store = store
        self._paths = paths
        self._machine_id = machine_id
        self.link = RelayLink(
            client,
            store.mail,
            machine=self._machine_id,
            facts=self._facts,
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        self.desk = ApprovalDesk(client, self.link.has)
        machine = Machine(self._machine_id, settings.url, store, self.link, self.desk)
        self.supervisor = Supervisor(machine, paths)
        self.commands = Commands(
            self._machine_id,
            store,
            client,
            self.supervisor,
            LaunchDefaults(roots=settings.launch_roots, settings=settings),
        )
        self.supervisor.on_command = self.commands.commanded
        neighbours = LocalAgents(self.supervisor, self.link)
        self.outbox = Outbox(client, store.outbox, neighbours=neighbours)
        plain_codex = PlainCodex(self.supervisor, paths, settings.rig)
        self._backend = SessionBackend(
            self.supervisor, self.outbox, store.mail, client, self.link, plain_codex
        )
        self._mcp_ready = asyncio.Event()
        self.control = ControlServer(
            self.supervisor,
            ping=self._ping,
            tools=Tools(backend=self._backend, serve=self._serve_mcp, ready=self._mcp_ready.wait),
            default_rig=settings.rig,
            paths=paths,
            plain_codex=plain_codex,
        )

    async def work_until(self, stopping: asyncio.Event) -> None:
        """Keep the link and the outbox going. A part that fails fails the daemon, and so does the
        store, whoever finds it out: the next one starts from what is written down.

        Raises: StoreUnusable.
        """
        failures: list[StoreUnusable] = []

        def give_up(failure: StoreUnusable) -> None:
            failures.append(failure)
            stopping.set()

        self._store.on_failure(give_up)
        self._warm_up()
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = [
                    tasks.create_task(self.link.run(self.supervisor, self._connected)),
                    tasks.create_task(self.outbox.run()),
                    tasks.create_task(self._tidy_up()),
                ]
                await stopping.wait()
                for part in parts:
                    part.cancel()
        except* StoreUnusable as unusable:
            raise StoreUnusable(str(_first(unusable))) from unusable
        if failures:
            raise failures[0]

    async def _tidy_up(self) -> None:
        """What grows while a daemon runs for weeks."""
        while True:
            self._store.prune(now() - _REMEMBERED_SECONDS)
            for log_file in (
                *self._paths.sessions.glob("*/*.log"),
                *self._paths.logs.glob("*.out"),
            ):
                trim_log(log_file)
            await asyncio.sleep(_TIDY_SECONDS)

    def _connected(self) -> None:
        self.outbox.retry()
        self.desk.connected()
        self.commands.connected()

    def _warm_up(self) -> None:
        """The MCP SDK takes a second to import: before a session needs it, and in a thread that a
        daemon that is stopped meanwhile does not wait for."""
        loop = asyncio.get_running_loop()

        def load() -> None:
            try:
                import_module(_MCP)
            finally:
                with suppress(RuntimeError):  # the loop is closed by now
                    loop.call_soon_threadsafe(self._mcp_ready.set)

        threading.Thread(target=load, name="load the tools", daemon=True).start()

    async def _serve_mcp(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, instance: str
    ) -> None:
        await self._mcp_ready.wait()
        module = import_module(_MCP)
        await module.serve(
            reader, writer, session_key=key, instance=instance, backend=self._backend
        )

    def _ping(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "url": self._settings.url,
            "machine": self._machine_id,
            "relay": self.link.state.value,
            "problem": self.link.problem,
            "tools": "ready" if self._mcp_ready.is_set() else "loading",
            "sessions": len(self.supervisor.sessions()),
            "outbox": self._store.outbox.count(),
            "unreported": len(self._store.mail.unreported()),
            "databaseBytes": self._paths.database.stat().st_size,
        }

    def _facts(self) -> Mapping[str, Any]:
        return {
            "hostname": platform.node(),
            "os": f"{platform.system()} {platform.release()}",
            "version": __version__,
            "providers": list(BUILT_IN),
            "launchRoots": [str(root) for root in self._settings.launch_roots],
        }


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    """What a group of groups is about."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


@contextmanager
def _only_one(paths: Paths) -> Iterator[None]:
    """Hold the lock that makes this daemon the only one of its home. Raises: AlreadyRunning."""
    descriptor = os.open(paths.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = monotonic() + _HANDOVER_SECONDS
    try:
        while not _is_locked(descriptor):
            # One that does not listen (any more) is stopping: its sessions' launchers start us as
            # soon as it hangs up on them, and nobody does so again for a while.
            if _is_served(paths) or monotonic() >= deadline:
                written = os.pread(descriptor, 32, 0).strip()
                raise AlreadyRunning(int(written) if written.isdigit() else None)
            time.sleep(_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Is the lock ours now?"""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_served(paths: Paths) -> bool:
    """Does a daemon listen?"""
    try:
        ControlClient(paths.control_socket).connect().close()
    except DaemonUnreachable:
        return False
    return True
