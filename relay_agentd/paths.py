"""Where this program keeps its files, and that nobody else can tamper with the private ones.

Owns no state. The runtime folder (control socket, session folders) is 0700 and verified to be
ours before anything in it is trusted. Names in it carry a hash of the state folder, so that two
homes of one user do not collide.
"""

import hashlib
import os
import stat
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import platformdirs

from relay_agentd.errors import FolderUnsafe

APPLICATION = "agent-relay"

# A unix socket's address holds 107 bytes; session folders hold sockets with short names.
_LONGEST_SOCKET = 100
_LONGEST_NAME_BELOW = len("/s-01234567/0123456789abcdef/as.sock")


@dataclass(frozen=True, slots=True)
class Paths:
    """The four folders of one home, and the names inside them."""

    config: Path
    data: Path
    state: Path
    runtime: Path

    @classmethod
    def default(cls) -> Self:
        """As platformdirs says for this user and environment."""
        folders = platformdirs.PlatformDirs(APPLICATION, appauthor=False)
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR platformdirs warns and falls back to the temporary folder,
            # which is as good once `make_private` has verified it.
            warnings.simplefilter("ignore")
            runtime = folders.user_runtime_path
        return cls(
            config=folders.user_config_path,
            data=folders.user_data_path,
            state=folders.user_state_path,
            runtime=_short_enough(runtime),
        )

    @property
    def env_file(self) -> Path:
        """Machine settings as KEY=VALUE lines."""
        return self.config / "agentd.env"

    @property
    def profiles_file(self) -> Path:
        """Named descriptions of agents."""
        return self.config / "profiles.json"

    @property
    def database(self) -> Path:
        """Sessions, inbox, deliveries and outbox."""
        return self.state / "agentd.db"

    @property
    def lock_file(self) -> Path:
        """Held by the one daemon of this home; holds its pid."""
        return self.state / "agentd.lock"

    @property
    def machine_file(self) -> Path:
        """What this machine is called at the relay."""
        return self.state / "machine"

    @property
    def logs(self) -> Path:
        """Log files, rotated."""
        return self.state / "logs"

    @property
    def daemon_log(self) -> Path:
        """What the daemon has to say."""
        return self.logs / "agentd.log"

    @property
    def control_socket(self) -> Path:
        """Where the daemon listens."""
        return self.runtime / f"control-{self._home_mark}.sock"

    @property
    def sessions(self) -> Path:
        """Holds a private folder for each running session."""
        return self.runtime / f"s-{self._home_mark}"

    def session_folder(self, key: str) -> Path:
        """The private folder of one session."""
        return self.sessions / key

    @property
    def _home_mark(self) -> str:
        return hashlib.sha256(os.fsencode(self.state.absolute())).hexdigest()[:8]


def make_private(folder: Path) -> Path:
    """Make `folder` (and what is missing above it) 0700, and verify that it is ours.

    Raises: FolderUnsafe.
    """
    try:
        _make_parents(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise FolderUnsafe(f"{folder} is not a folder")
        if status.st_uid != os.geteuid():
            raise FolderUnsafe(f"{folder} belongs to another user (uid {status.st_uid})")
        if stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)
        _verify_parent(folder.parent)
    except OSError as error:
        raise FolderUnsafe(f"cannot use {folder}: {error.strerror}") from error
    return folder


def _make_parents(folder: Path) -> None:
    """`mkdir -p`, but private: Path.mkdir gives parents the default mode."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for name in reversed(missing):
        name.mkdir(mode=0o700, exist_ok=True)


def _verify_parent(parent: Path) -> None:
    """Whoever may rename our folder away may put another in its place."""
    status = parent.stat()
    trusted = status.st_uid in (os.geteuid(), 0)
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not trusted or (writable and not status.st_mode & stat.S_ISVTX):
        raise FolderUnsafe(f"{parent} can be changed by other users")


def _short_enough(runtime: Path) -> Path:
    """`runtime`, or a folder with a name short enough for sockets below it."""
    candidates = [
        runtime,
        Path(tempfile.gettempdir()) / f"{APPLICATION}-{os.getuid()}",
        Path("/tmp") / f"{APPLICATION}-{os.getuid()}",  # noqa: S108 - verified by make_private
    ]
    fitting = (
        candidate
        for candidate in candidates
        if len(os.fsencode(candidate)) + _LONGEST_NAME_BELOW <= _LONGEST_SOCKET
    )
    return next(fitting, candidates[-1])
