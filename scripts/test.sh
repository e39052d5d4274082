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
    # Once, for the hundreds of processes that the tests start: where Python is told to write no bytecode, as in many
    # containers, each of them would compile the package anew.
    "$folder/bin/python" -m compileall -q src
    # Three at a time: most of the tests wait for servers, leases and processes. A file stays together, and files stay in
    # their order, so that the slow ones of faults and scenarios do not come last.
    # shellcheck disable=SC2086  # no words, or several
    "$folder/bin/python" ${measure:-} -m pytest -n 3 --dist loadfile --no-loadscope-reorder "$@"
}

# Prints how much of the package the last run has reached. Never the reason why a suite fails.
report_coverage() {
    .venv-newest/bin/python -m coverage combine --quiet &&
        total=$(.venv-newest/bin/python -m coverage report --format=total) &&
        printf '\nThe suite has reached %s %% of the lines of src/celeriac; make cover tells which.\n' "$total" ||
        printf '\nHow much of src/celeriac the suite has reached could not be told.\n'
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
if [ -n "${CI:-}" ]; then
    # Here lines are counted by the interpreter itself, which costs little; older ones take much longer.
    measure='-m coverage run'
    export COVERAGE_CORE=sysmon
    .venv-newest/bin/python -m coverage erase
fi
run_in .venv-newest "$@" || status=$?
[ -z "${measure:-}" ] || report_coverage
exit "$status"
