#!/bin/sh
# Usage: scripts/venv.sh FOLDER PYTHON demo|dev [REQUIREMENT...]
# Makes a virtual environment with the package (editable) and what demo or development need beside it, and leaves
# FOLDER/.ready-demo or .ready-dev for make to see. Called by the Makefile and test.sh; may be called again.
set -eu
cd "$(dirname "$0")/.."
folder=$1 python=$2 what=$3
shift 3

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))') || {
    echo "Celeriac needs Python 3.11 or newer; $python is ${version:-not there}." >&2
    echo "Install one and name it: make PYTHON=/path/to/python3.13 ..." >&2
    exit 1
}

if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || scripts/apt_install.sh "python$version-venv"
    echo "Making a virtual environment in $folder with Python $version"
    "$python" -m venv "$folder"
fi

case $what in
    demo) set -- "$@" -e '.[django,redis]' --group shop ;;
    dev) set -- "$@" -e '.[django,redis,postgres,mariadb]' --group dev ;;
    *) echo "scripts/venv.sh knows demo and dev, not $what" >&2; exit 2 ;;
esac
echo "Installing into $folder: celeriac from this folder, and what its pyproject.toml names for $what"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"

touch "$folder/.ready-demo" "$folder/.ready-$what"
