"""The stand-in's helper: a listening socket, until it is told to end. Its behaviour may differ."""

import signal
import socket
import sys

behaviour = sys.argv[2] if len(sys.argv) > 2 else ""
if behaviour == "broken-helper":
    sys.exit("the helper cannot start today")
if behaviour == "stubborn-helper":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour == "silent-helper":
    signal.pause()
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    signal.pause()
