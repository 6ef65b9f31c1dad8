#!/usr/bin/env python3
"""A whole agent in standard Python: joins the relay, answers messages, does work, leaves.

    AGENT_RELAY_URL=http://localhost:4850 AGENT_RELAY_TOKEN=... python3 echo_agent.py ID

A message is acknowledged after it was answered, so a crash in between offers it again; the
idempotency key then makes the answer come out once. Ends with 0 on SIGTERM or Ctrl-C, with 1
when a newer run has taken the id over or the relay refuses the token.
"""

import contextlib
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

URL = os.environ.get("AGENT_RELAY_URL", "http://localhost:4850").rstrip("/")
ME = sys.argv[1] if len(sys.argv) == 2 else sys.exit("usage: echo_agent.py ID")
HEADERS = {
    "Content-Type": "application/json",
    "Authorization": f"Bearer {os.environ.get('AGENT_RELAY_TOKEN', '')}",
    "X-Agent-Instance": uuid.uuid4().hex,  # this run; a newer one fences it off
}


def call(method: str, path: str, body: object = None, key: str | None = None) -> Any:
    """One request. Raises: HTTPError when the relay refuses, OSError when it is not there."""
    data = None if body is None else json.dumps(body).encode()
    headers = HEADERS | ({"Idempotency-Key": key} if key else {})
    request = urllib.request.Request(URL + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def work(message: dict[str, Any]) -> None:
    """Answer; of what several could do, only what we get hold of. Again is harmless."""
    text = f"echo: {message['body'][:1000]}"
    if message["claimable"]:
        path = f"/api/messages/{message['id']}"
        call("POST", f"{path}/claim", {"agentId": ME, "leaseSeconds": 60})
        call("POST", f"{path}/complete", {"agentId": ME, "result": text})
    elif message["replyTo"] is None:  # answering answers would go on for ever
        answer = {"from": ME, "replyTo": message["id"], "body": text}
        call("POST", "/api/messages", answer, key=f"answer-{message['id']}")


def serve() -> None:
    """Until something raises."""
    card = {"id": ME, "capabilities": ["echo"], "reachability": "poll"}
    call("POST", "/api/agents", card | {"instanceId": HEADERS["X-Agent-Instance"]})
    while True:
        call("POST", f"/api/agents/{ME}/heartbeat", {})
        for message in call("GET", f"/api/messages?for={ME}&wait=20")["messages"]:
            try:
                work(message)
            except urllib.error.HTTPError as refusal:
                if refusal.code not in (404, 409):  # claimed by another, or its sender is gone
                    raise
            receipt = {"messageId": message["id"], "state": "read", "via": "echo"}
            call("POST", f"/api/agents/{ME}/ack", {"receipts": [receipt]})


signal.signal(signal.SIGTERM, signal.default_int_handler)
with contextlib.suppress(KeyboardInterrupt):
    while True:
        try:
            serve()
        except urllib.error.HTTPError as refusal:
            if refusal.code in (401, 403, 409):  # 409: stale_instance, a newer run is there
                sys.exit(f"{ME}: {refusal.read().decode()}")
        except OSError:
            pass  # the relay is not there, for now
        time.sleep(1)
with contextlib.suppress(OSError):
    call("PATCH", f"/api/agents/{ME}/status", {"status": "offline"})
