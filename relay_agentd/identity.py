"""Who this machine and its sessions are on the relay. Pure, but for the machine's own name, which
is kept in a file, and for looking for a `.git` above a folder."""

import hashlib
import re
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_LONGEST: Final = 128


def agent_id(*, host: str, rig: str, project: str, provider_session_id: str) -> str:
    """`{hostname}-{rig}-{project}-{session-hash}`: the same for the same conversation, always."""
    mark = hashlib.sha256(provider_session_id.encode()).hexdigest()[:8]
    # The hash tells sessions apart, so it is never what is cut off.
    front = "-".join(_folded(part) for part in (host, rig, project))
    return f"{front[: _LONGEST - len(mark) - 1].rstrip('-')}-{mark}"


def host_name() -> str:
    """This machine's short name."""
    return _folded(socket.gethostname().partition(".")[0])


def kept_machine_id(file: Path) -> str | None:
    """What this machine is called at the relay and in its agents' ids, if that was settled."""
    with suppress(OSError, UnicodeDecodeError):
        kept = file.read_text(encoding="utf-8").strip()
        return kept if kept == _folded(kept) else None
    return None


def keep_machine_id(file: Path, name: str) -> None:
    """Settle it for ever: DHCP may call the machine something else tomorrow."""
    draft = file.with_suffix(".new")
    draft.write_text(f"{name}\n", encoding="utf-8")
    draft.replace(file)


def another_name(host: str) -> str:
    """For a machine whose host name another one has at the relay."""
    return f"{host}-{secrets.token_hex(2)}"


def project_name(cwd: Path) -> str:
    """The git top folder's name, else the folder's."""
    for folder in (cwd, *cwd.parents):
        # A worktree and a submodule have a file there; an empty folder makes no repository.
        if (folder / ".git").is_file() or (folder / ".git" / "HEAD").exists():
            return folder.name or "root"
    return cwd.name or "root"


def _folded(text: str) -> str:
    """Lower case, anything but letters and digits as one `-`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
