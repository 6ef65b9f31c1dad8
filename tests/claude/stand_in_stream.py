"""Stands in for a headless Claude Code: a program that does what a test writes to its stdin.

A user message is shown and then carried out: its content is a word and an argument.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

SLEEPER = "import signal, sys, time; [signal.signal(n, signal.SIG_IGN) for n in eval(sys.argv[1])]"


def tell(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def carry_out(word: str, argument: str) -> None:
    match word:
        case "ask":
            request = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "x"}}
            tell(type="control_request", request_id=argument, request=request)
        case "cancel":
            tell(type="control_cancel_request", request_id=argument)
        case "flood":
            for number in range(int(argument)):
                tell(type="control_cancel_request", request_id=str(number), padding="x" * 1_000_000)
        case "long":
            sys.stdout.write('{"type": "user", "padding": "' + "x" * int(argument) + '"}\n')
        case "orphan":
            # As a tool's command: in a session of its own, deaf to the signals named.
            code = f"{SLEEPER}; time.sleep(60)"
            subprocess.Popen([sys.executable, "-c", code, argument], start_new_session=True)
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "complain":
            sys.stderr.write(argument + "\n")
        case "fail":
            tell(type="result", subtype="error", is_error=True, result=argument)
        case "exit":
            sys.exit(int(argument))
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            pass


def main() -> None:
    heard = Path(sys.argv[1])
    for line in sys.stdin:
        with heard.open("a") as file:
            file.write(line)
        message = json.loads(line)
        if message["type"] != "user":
            continue
        content = message["message"]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        word, _, argument = text.partition(" ")
        tell(type="system", subtype="init", session_id="conversation-1")
        tell(type="user", uuid=message["uuid"], isReplay=True, message=message["message"])
        carry_out(word, argument)
        if word not in {"busy", "ask", "fail"}:
            tell(type="result", subtype="success", is_error=False, result="done")


main()
