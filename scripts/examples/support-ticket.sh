#!/bin/sh
# Hands a ticket to an agent and waits for what it found out: for a support desk's automation.
#
#   support-ticket.sh TICKET TITLE [BODY]     BODY `-`: from stdin. Prints the result.
#
# Asking again for a TICKET that is still being worked on waits for the same task.
#
# Needs       curl, python3 (to read the answers).
# Environment AGENT_RELAY_URL       the relay (http://localhost:4850)
#             AGENT_RELAY_TOKEN     an integration's token with the scopes tasks:create, tasks:read
#             AGENT_RELAY_TARGET    who gets it (tag:support)
#             AGENT_RELAY_TIMEOUT   seconds to wait for the result (600)
#             AGENT_RELAY_INTERVAL  seconds between two looks (2)
# Ends with   0 done, 1 not done in time, 2 wrong use, 3 relay not reachable,
#             4 refused by the relay, 5 the task failed or was canceled.
set -eu

fail() { # STATUS TEXT
    printf 'support-ticket: %s\n' "$2" >&2
    exit "$1"
}

# call PATH [post]: gets PATH, or posts the request to it; the answer is in its file.
call() {
    path=$1
    shift
    [ $# -eq 0 ] || set -- -H 'Content-Type: application/json' --data-binary "@$request"
    # The token comes by a file descriptor: a command line is there for everyone to see.
    status=$(curl -sS --max-time 30 -H @/dev/fd/3 -o "$answer" -w '%{http_code}' "$@" \
        "${url%/}$path" 3<<EOF
Authorization: Bearer $AGENT_RELAY_TOKEN
EOF
    ) || fail 3 "$url is not reachable"
    case $status in
        20?) ;;
        *) fail 4 "the relay refused ($status): $(field detail)" ;;
    esac
}

# field NAME...: what is at this place of the answer; nothing when it is null.
field() {
    python3 -c '
import json, sys
with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
    text = file.read()
try:
    found = json.loads(text)
except ValueError:
    sys.exit(print(text[:200]))
for name in sys.argv[2:]:
    found = found.get(name) if isinstance(found, dict) else None
sys.stdout.reconfigure(encoding="utf-8")
print(found if isinstance(found, str) else "" if found is None else json.dumps(found))
' "$answer" "$@"
}

[ $# -ge 2 ] && [ $# -le 3 ] || fail 2 'usage: support-ticket.sh TICKET TITLE [BODY|-]'
[ -n "$1" ] && [ -n "$2" ] || fail 2 'TICKET and TITLE must not be empty'
[ -n "${AGENT_RELAY_TOKEN:-}" ] || fail 2 'AGENT_RELAY_TOKEN is not set'
command -v curl >/dev/null || fail 2 'curl is not installed'
command -v python3 >/dev/null || fail 2 'python3 is not installed'

url=${AGENT_RELAY_URL:-http://localhost:4850}
request=$(mktemp)
answer=$(mktemp)
trap 'rm -f "$request" "$answer"' EXIT
trap 'exit 130' INT TERM
text=${3:-}
[ "$text" != - ] || text=$(cat)

python3 -c '
import json, sys
key, title, target, body = sys.argv[1:]
ticket = {"dedupeKey": "ticket:" + key, "title": title, "target": target}
print(json.dumps({**ticket, "body": body} if body else ticket))
' "$1" "$2" "${AGENT_RELAY_TARGET:-tag:support}" "$text" >"$request"

call /api/integrations/events post
task=$(field task id)
echo "support-ticket: task $task" >&2

left=${AGENT_RELAY_TIMEOUT:-600}
while :; do
    call "/api/tasks/$task"
    case $(field status) in
        done)
            field result
            exit 0
            ;;
        failed | canceled) fail 5 "the task ended as $(field status): $(field result)" ;;
    esac
    [ "$left" -gt 0 ] || fail 1 "task $task is $(field status)"
    sleep "${AGENT_RELAY_INTERVAL:-2}"
    left=$((left - ${AGENT_RELAY_INTERVAL:-2}))
done
