"""Whether a relay's address is on this machine. Pure."""

from urllib.parse import urlsplit

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_local(url: str) -> bool:
    """A relay on this machine: nothing between it and us, and ours to start."""
    return urlsplit(url).hostname in _LOOPBACK
