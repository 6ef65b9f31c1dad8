"""A real relay server process on a free port with a database of its own, for tests.

    with RelayProcess(tmp_path, AGENT_RELAY_TOKEN="t") as relay:
        httpx.get(relay.url + "/healthz")

`kill` is SIGKILL; `start` after it uses the same port and database again.
"""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.support.ports import free_port

_ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 60


class RelayProcess:
    """Starts on `start` or on entering; output goes to `log`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.database = folder / "relay.db"
        self.log = folder / "relay.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment

    def environment(self) -> dict[str, str]:
        """A clean one: nothing of the caller's settings reaches the server."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "PYTHONPATH": str(_ROOT),
            "PORT": str(self.port),
            "AGENT_RELAY_DB": str(self.database),
            **self._environment,
        }

    def start(self) -> "RelayProcess":
        """Run it until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "relay_server"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the relay did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> "RelayProcess":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
