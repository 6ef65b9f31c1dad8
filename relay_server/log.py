"""Logging: one line a record on standard error, levels by name. Tokens never get here."""

import logging
import sys


def configure(level: int = logging.INFO) -> None:
    """Set up the root logger once, at program start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # waitress warns on each request that waits for a thread; that is normal here.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    # They write each request's address at INFO, and a callback's may hold a secret.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
