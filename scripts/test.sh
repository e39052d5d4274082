#!/bin/sh
# Usage: scripts/test.sh PYTHON [PYTEST ARGUMENT...]
# Runs the whole suite in .venv and, where PYTHON is not the newest that this machine has, once more on that one with
# the newest Django. Called by `make test`, which has set up .venv and the servers.
set -eu
cd "$(dirname "$0")/.."
python=$1
shift

run_in() {
    folder=$1
    shift
    about='import platform, django; print(f"Python {platform.python_version()}, Django {django.__version__}")'
    printf '\nThe whole suite on %s\n' "$("$folder/bin/python" -c "$about")"
    # Three at a time: most of the tests wait for servers, leases and processes. A file stays together.
    "$folder/bin/python" -m pytest -n 3 --dist loadfile "$@"
}

status=0
run_in .venv "$@" || status=$?

newest=$(scripts/newest_python.sh "$python")
if [ -z "$newest" ]; then
    echo "No newer supported Python on this machine: one run."
    exit "$status"
fi
ready=.venv-newest/.ready-dev
if [ ! -e "$ready" ] || [ pyproject.toml -nt "$ready" ]; then
    scripts/venv.sh .venv-newest "$newest" dev 'Django>=6.1,<6.2'
fi
run_in .venv-newest "$@" || status=$?
exit "$status"
