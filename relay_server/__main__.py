"""`python -m relay_server`."""

from relay_server.cli import main

main(prog_name="relay-server")
