"""Names made here: request ids (cheap, unique a process) and stream ids (unguessable)."""

import itertools
import secrets

_process = secrets.token_hex(6)
_numbers = itertools.count(1)


def new_request_id() -> str:
    """Unique for this process's life; not a secret."""
    return f"{_process}-{next(_numbers):x}"


def new_stream_id() -> str:
    """Names a stream in PUT /api/stream/{id}; long enough not to be guessed."""
    return secrets.token_urlsafe(18)
