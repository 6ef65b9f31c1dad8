"""The stand-in's helper: a listening socket, until it is told to end (or not: ``broken``)."""

import signal
import socket
import sys

if sys.argv[2:] == ["broken-helper"]:
    sys.exit("the helper cannot start today")
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    signal.pause()
