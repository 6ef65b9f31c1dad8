"""What was there before an installation, kept until it is undone.

`record.json` in the installation's folder: each watched file as it was (whole, in base64) and the
hash of what it was afterwards. It holds what the person's files hold, hence 0600 in a 0700 folder.
"""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from relay_launchers.install import InstallRefused

_FILE = "record.json"


@dataclass(slots=True, kw_only=True)
class Record:
    """See the module."""

    version: str | None = None
    """What is installed; None: an installation began and did not end."""
    files: dict[Path, bytes | None] = field(default_factory=dict)
    """As they were; None: it was not there."""
    after: dict[Path, str] = field(default_factory=dict)
    entries: set[Path] = field(default_factory=set)
    """Other files and folders that were there."""
    appeared: dict[Path, str] = field(default_factory=dict)
    """Other files that came with the installation."""
    made: set[Path] = field(default_factory=set)
    """Folders that were not there."""

    @classmethod
    def empty(cls) -> Self:
        """Nothing is known: what is ours is found by its marks."""
        return cls()

    @classmethod
    def before(cls, watched: Iterable[Path], entries: set[Path], made: set[Path]) -> Self:
        """How things stand before anything is changed."""
        return cls(files={path: content_of(path) for path in watched}, entries=entries, made=made)

    def started(self, folder: Path) -> None:
        """From now on files are changed."""
        self.after = {}
        self._save(folder)

    def finished(self, folder: Path, version: str, appeared: set[Path]) -> None:
        """All of it is in place."""
        self.version = version
        self.after = {path: digest_of(path) for path in self.files}
        self.appeared |= {path: digest_of(path) for path in appeared if path.is_file()}
        self.made |= {path for path in appeared if path.is_dir()}
        self._save(folder)

    def _save(self, folder: Path) -> None:
        whole = {
            "version": self.version,
            "files": {
                str(path): None if content is None else base64.b64encode(content).decode()
                for path, content in self.files.items()
            },
            "after": {str(path): digest for path, digest in self.after.items()},
            "entries": sorted(map(str, self.entries)),
            "appeared": {str(path): digest for path, digest in self.appeared.items()},
            "made": sorted(map(str, self.made)),
        }
        replace_content(folder / _FILE, json.dumps(whole, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The record in `folder`; None when nothing was installed. Raises: InstallRefused."""
        content = content_of(folder / _FILE)
        try:
            return None if content is None else cls._parsed(content)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InstallRefused(
                f"{folder / _FILE} is damaged: move {folder} away first, then what is ours is"
                " found by its marks"
            ) from error

    @classmethod
    def _parsed(cls, content: bytes) -> Self:
        whole = json.loads(content)
        return cls(
            version=whole["version"],
            files={
                Path(path): None if content is None else base64.b64decode(content)
                for path, content in whole["files"].items()
            },
            after={Path(path): digest for path, digest in whole["after"].items()},
            entries=set(map(Path, whole["entries"])),
            appeared={Path(path): digest for path, digest in whole["appeared"].items()},
            made=set(map(Path, whole["made"])),
        )


def content_of(path: Path) -> bytes | None:
    """A file's content; None when there is none. Raises: OSError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def digest_of(path: Path) -> str:
    """A hash of a file's content, or of its absence."""
    content = content_of(path)
    return "absent" if content is None else hashlib.sha256(content).hexdigest()


def replace_content(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, behind the link it may be and with the mode it has.

    Raises: OSError.
    """
    target = path.resolve()
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mode = 0o600
    draft = target.with_name(f".{target.name}.relay-new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(mode)
    draft.replace(target)
