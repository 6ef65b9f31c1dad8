"""A minimal MCP server in the place of the relay's pipe: one tool that changes things.

Writes each call it gets as a line beside the control socket it was told of, so that a test sees
what the session's own tools are started with. Standard library only, like the pipe.
"""

import json
import os
import sys
from pathlib import Path

TOOL = {
    "name": "relay_send",
    "description": "Send a message.",
    "inputSchema": {"type": "object", "properties": {"to": {"type": "string"}}},
}


def answer(request):
    method, params = request["method"], request.get("params") or {}
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "relay", "version": "0"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        line = {"session": os.environ["AGENT_RELAY_SESSION"], "arguments": params["arguments"]}
        with Path(os.environ["AGENT_RELAY_CONTROL"] + ".calls").open("a") as calls:
            calls.write(json.dumps(line) + "\n")
        return {"content": [{"type": "text", "text": "message 7 sent"}]}
    return {}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        reply = {"jsonrpc": "2.0", "id": request["id"], "result": answer(request)}
        print(json.dumps(reply), flush=True)
