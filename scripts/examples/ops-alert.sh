#!/bin/sh
# Tells the relay that something is wrong, or that it is right again: for cron jobs and monitors.
#
#   ops-alert.sh fire    KEY TITLE [BODY]     a task for whoever looks after it; BODY `-`: from stdin
#   ops-alert.sh resolve KEY TITLE [BODY]     ends it
#
# The same KEY while its task is open makes no second one: fire as often as you look.
#
#   */5 * * * *  df / | awk 'END { exit $5+0 > 90 }' || ops-alert.sh fire disk:/ "Disk is nearly full"
#
# Needs       curl, awk.
# Environment AGENT_RELAY_URL       the relay (http://localhost:4850)
#             AGENT_RELAY_TOKEN     an integration's token with the scope tasks:create
#             AGENT_RELAY_TARGET    who gets it (tag:ops)
#             AGENT_RELAY_CHANNEL   narrows the target; optional
#             AGENT_RELAY_SEVERITY  as you like; optional
# Ends with   0 done, 2 wrong use, 3 relay not reachable, 4 refused by the relay.
set -eu

fail() { # STATUS TEXT
    printf 'ops-alert: %s\n' "$2" >&2
    exit "$1"
}

# Any text as a JSON string. Bytes, so that no locale matters.
quoted() {
    printf '%s\n' "$1" | LC_ALL=C awk '
        BEGIN {
            for (i = 1; i < 32; i++) code[sprintf("%c", i)] = sprintf("\\u%04x", i)
            code["\""] = "\\\""; code["\\"] = "\\\\"
            printf "\""
        }
        NR > 1 { printf "\\n" }
        {
            for (i = 1; i <= length($0); i++) {
                c = substr($0, i, 1)
                printf "%s", (c in code) ? code[c] : c
            }
        }
        END { printf "\"" }'
}

[ $# -ge 3 ] && [ $# -le 4 ] || fail 2 'usage: ops-alert.sh fire|resolve KEY TITLE [BODY|-]'
case $1 in
    fire) resolved= ;;
    resolve) resolved=', "status": "resolved"' ;;
    *) fail 2 "'$1' is neither fire nor resolve" ;;
esac
[ -n "$2" ] && [ -n "$3" ] || fail 2 'KEY and TITLE must not be empty'
[ -n "${AGENT_RELAY_TOKEN:-}" ] || fail 2 'AGENT_RELAY_TOKEN is not set'
command -v curl >/dev/null || fail 2 'curl is not installed'

text=${4:-}
[ "$text" != - ] || text=$(cat)
event="{\"dedupeKey\": $(quoted "$2"), \"title\": $(quoted "$3")$resolved"
event="$event, \"target\": $(quoted "${AGENT_RELAY_TARGET:-tag:ops}")"
[ -z "$text" ] || event="$event, \"body\": $(quoted "$text")"
[ -z "${AGENT_RELAY_CHANNEL:-}" ] || event="$event, \"channel\": $(quoted "$AGENT_RELAY_CHANNEL")"
[ -z "${AGENT_RELAY_SEVERITY:-}" ] || event="$event, \"severity\": $(quoted "$AGENT_RELAY_SEVERITY")"

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
trap 'exit 130' INT TERM
url=${AGENT_RELAY_URL:-http://localhost:4850}
# The token comes by a file descriptor: a command line is there for everyone to see.
status=$(printf '%s}' "$event" | curl -sS --max-time 30 --retry 3 --retry-max-time 60 \
    -H 'Content-Type: application/json' -H @/dev/fd/3 --data-binary @- \
    -o "$answer" -w '%{http_code}' "${url%/}/api/integrations/events" 3<<EOF
Authorization: Bearer $AGENT_RELAY_TOKEN
EOF
) || fail 3 "$url is not reachable"

case $status in
    201) echo 'a new task' ;;
    200)
        if [ -z "$resolved" ]; then
            echo 'counted: its task is still open'
        elif grep -q '"task": *null' "$answer"; then
            echo 'nothing was open'
        else
            echo 'resolved'
        fi
        ;;
    *)
        detail=$(sed -n 's/.*"detail": *"\([^"]*\)".*/\1/p' "$answer")
        fail 4 "the relay refused ($status): ${detail:-no reason given}"
        ;;
esac
