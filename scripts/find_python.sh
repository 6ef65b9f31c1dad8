# Sourced by the scripts a person runs: finds a Python that is new enough.

fail() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# A name on PATH may be a shim that only fails when it is called, so each one is asked.
find_python() {
    for name in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    found=$("${PYTHON:-python3}" --version 2>&1) || found='no Python'
    fail "Python 3.11 or newer is needed; found: $found." \
        "Install it (https://www.python.org/downloads/, or your system's package) and run this again."
}
