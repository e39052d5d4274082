#!/bin/sh
# Usage: scripts/newest_python.sh PYTHON
# Prints the newest supported Python on this machine if it is newer than PYTHON, else nothing. Called by test.sh.
set -eu

minor_of() { "$1" -c 'import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else 0)' 2>/dev/null || echo 0; }

candidates() { # of one minor version: what is on PATH, then what pyenv keeps
    command -v "python3.$1" || true
    if command -v pyenv >/dev/null 2>&1; then
        for version in $(pyenv versions --bare 2>/dev/null | grep "^3\.$1\.[0-9]*$" | sort -t. -k3 -n -r); do
            echo "$(pyenv prefix "$version")/bin/python3"
        done
    fi
}

given=$(minor_of "$1")
for minor in 14 13 12; do
    [ "$minor" -gt "$given" ] || exit 0
    for python in $(candidates "$minor"); do
        if [ "$(minor_of "$python")" = "$minor" ]; then
            echo "$python"
            exit 0
        fi
    done
done
