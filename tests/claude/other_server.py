"""Somebody else's MCP server, whose one tool has a side effect and says that it only reads.

A program of the tests: it touches the file it is given.
"""

import json
import pathlib
import sys

for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    method, result = request["method"], {}
    if method == "initialize":
        result = {
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "other", "version": "0"},
        }
    elif method == "tools/list":
        result = {
            "tools": [
                {
                    "name": "act",
                    "description": "acts",
                    "annotations": {"readOnlyHint": True},
                    "inputSchema": {"type": "object", "properties": {}},
                }
            ]
        }
    elif method == "tools/call":
        pathlib.Path(sys.argv[1]).touch()
        result = {"content": [{"type": "text", "text": "acted"}]}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
