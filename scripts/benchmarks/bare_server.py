"""The yardstick: the least a Falcon and waitress server can do to store the same message row.

No validation, no routing, no authentication, no events. It prints its address and serves until it
is ended: `python -m scripts.benchmarks.bare_server DATABASE`.
"""

import json
import logging
import sqlite3
import sys
import threading
import time
from pathlib import Path

import falcon
from waitress.server import TcpWSGIServer, create_server

from relay_server.store.migrations.m0001_initial import STATEMENTS

_INSERT = """INSERT INTO messages (sender, target, addressed_to, body, thread_id, kind, priority,
 claimable, recipients, created_at) VALUES (?, ?, ?, ?, 0, 'message', 'normal', 0, 1, ?)"""


class Messages:
    """One handler: parse, insert in an immediate transaction, answer 201."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=wal")
        self._database.execute("PRAGMA synchronous=normal")
        for statement in STATEMENTS:  # the same table with the same indexes
            self._database.execute(statement)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = json.loads(req.bounded_stream.read())
        now = int(time.time() * 1000)
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            row = self._database.execute(
                _INSERT, (given["from"], given["to"], given["to"], given["body"], now)
            )
            self._database.execute("COMMIT")
        resp.status = falcon.HTTP_201
        resp.content_type = "application/json"
        resp.text = json.dumps({"id": row.lastrowid, **given, "createdAt": now})


def main() -> None:
    """Serve on a free loopback port."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    app = falcon.App()
    app.add_route("/api/messages", Messages(Path(sys.argv[1])))
    server = create_server(app, host="127.0.0.1", port=0, threads=16)
    assert isinstance(server, TcpWSGIServer)
    assert server.socket
    print(f"http://127.0.0.1:{server.socket.getsockname()[1]}", flush=True)
    server.run()


if __name__ == "__main__":
    main()
