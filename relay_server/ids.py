"""Names made here: of requests (cheap, unique a process), of deliveries, of streams; tokens."""

import itertools
import secrets
import uuid

_process = secrets.token_hex(6)
_numbers = itertools.count(1)


def new_request_id() -> str:
    """Unique for this process's life; not a secret."""
    return f"{_process}-{next(_numbers):x}"


def new_stream_id() -> str:
    """Names a stream in PUT /api/stream/{id}; long enough not to be guessed."""
    return secrets.token_urlsafe(18)


def new_token(prefix: str) -> str:
    """A secret of 256 bits; the prefix says what it is for, to people and to secret scanners."""
    return prefix + secrets.token_urlsafe(32)


def new_delivery_id() -> str:
    """Names a callback to its receiver, which drops what it has seen."""
    return str(uuid.uuid4())
