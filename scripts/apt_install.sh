#!/bin/sh
# Usage: scripts/apt_install.sh PACKAGE...
# Installs Debian or Ubuntu packages, and says so first. Called by venv.sh and servers.sh for what is missing.
# Servers among the packages are not started: demo and tests start private ones of their own.
set -eu

fail() {
    echo "Missing on this machine: $*" >&2
    echo "Install them as root (apt-get install $*), or run this as root or with sudo, and try again." >&2
    exit 1
}

command -v apt-get >/dev/null || fail "$@"
if [ "$(id -u)" = 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root="sudo env"
else
    fail "$@"
fi

echo "Installing with apt-get: $*"

# What Debian asks before it starts a service. One that is there already is left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $as_root sh -c "cat >$policy && chmod 755 $policy"
fi

install() {
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$@"
}

if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
    $as_root apt-get update -qq
fi
install "$@" || { $as_root apt-get update -qq && install "$@"; }
