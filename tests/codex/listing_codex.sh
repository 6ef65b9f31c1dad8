#!/bin/sh
# A Codex that only knows which MCP servers there are: all of them, and without the plugins'.
case "$*" in
*"--disable plugins mcp list --json") echo "${STANDIN_CONFIGURED:-[]}" ;;
*"mcp list --json") echo "${STANDIN_SERVERS:-[]}" ;;
*) exit 1 ;;
esac
