"""What `session.open` asks for, checked. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from relay_agentd.errors import ControlRefused
from relay_agentd.process import ProcessId
from relay_agentd.session_state import SessionState
from relay_agentd.store.sessions import SessionKind, SessionRow
from relay_server.wire import ApprovalMode

_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A launcher's description of its session."""

    key: str
    provider: str
    provider_version: str
    cwd: Path
    rig: str
    approval: ApprovalMode
    label: str | None
    tags: tuple[str, ...]
    capabilities: tuple[str, ...]
    channels: tuple[str, ...]
    arguments: tuple[str, ...]
    launcher: ProcessId | None
    kind: SessionKind = SessionKind.TERMINAL
    prompt: str | None = None

    @classmethod
    def parse(
        cls,
        request: Mapping[str, Any],
        default_rig: str | None,
        kind: SessionKind = SessionKind.TERMINAL,
    ) -> Self:
        """Check a request. Raises: ControlRefused."""
        try:
            return cls._read(request, default_rig, kind)
        except ValueError as error:
            raise ControlRefused("invalid_request", str(error)) from error

    @classmethod
    def _read(cls, request: Mapping[str, Any], default_rig: str | None, kind: SessionKind) -> Self:
        key, approval = _text(request, "key"), _text(request, "approval")
        if not _KEY.fullmatch(key):
            raise ValueError("key: 16 hex digits")
        if approval not in list(ApprovalMode):
            raise ValueError("approval: open, guarded or read-only")
        cwd = Path(_text(request, "cwd"))
        if not cwd.is_absolute():
            raise ValueError("cwd: an absolute path")
        provider = _text(request, "provider")
        return cls(
            key=key,
            provider=provider,
            # The daemon finds the program of a background session itself.
            provider_version=(
                "" if kind is SessionKind.BACKGROUND else _text(request, "providerVersion")
            ),
            cwd=cwd,
            rig=_optional_text(request, "rig") or default_rig or provider,
            approval=ApprovalMode(approval),
            label=_optional_text(request, "label"),
            tags=_texts(request, "tags"),
            capabilities=_texts(request, "capabilities"),
            channels=_texts(request, "channels"),
            arguments=_texts(request, "arguments"),
            launcher=(
                ProcessId.parse(request.get("launcher")) if kind is SessionKind.TERMINAL else None
            ),
            kind=kind,
            prompt=_optional_text(request, "prompt"),
        )

    def row(self, opened_at: float, **known: Any) -> SessionRow:
        """The session's first row, with what is `known` already: written at once, so that no
        daemon ever finds half of it."""
        first = SessionRow(
            key=self.key,
            state=SessionState.STARTING,
            provider=self.provider,
            provider_version=self.provider_version,
            cwd=self.cwd,
            rig=self.rig,
            approval=self.approval,
            label=self.label,
            tags=self.tags,
            capabilities=self.capabilities,
            channels=self.channels,
            arguments=self.arguments,
            launcher=self.launcher,
            kind=self.kind,
            prompt=self.prompt,
            opened_at=opened_at,
        )
        return replace(first, **known)


def process_of(value: Any) -> ProcessId:
    """A process in the control socket's form. Raises: ControlRefused."""
    try:
        return ProcessId.parse(value)
    except ValueError as error:
        raise ControlRefused("invalid_request", str(error)) from error


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: a text")
    return value


def _optional_text(request: Mapping[str, Any], name: str) -> str | None:
    return None if request.get(name) is None else _text(request, name)


def _texts(request: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = request.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name}: a list of texts")
    return tuple(values)
