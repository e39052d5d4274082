#!/bin/sh
# Usage: scripts/servers.sh redis|postgres|mariadb|browser...
# Makes sure that these are installed, for tests and demo to start their own. Called by the Makefile.
set -eu
cd "$(dirname "$0")/.."

has() { command -v "$1" >/dev/null 2>&1; }

packages=""
for server in "$@"; do
    case $server in
        redis)
            has redis-server || has valkey-server || packages="$packages redis-server" ;;
        postgres)
            has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages="$packages postgresql" ;;
        mariadb)
            has mariadbd || [ -x /usr/sbin/mariadbd ] || packages="$packages mariadb-server" ;;
        browser)
            has chromedriver || packages="$packages chromium chromium-driver" ;;
        *)
            echo "scripts/servers.sh knows redis, postgres, mariadb and browser, not $server" >&2
            exit 2 ;;
    esac
done
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086  # a list of words
    scripts/apt_install.sh $packages
fi
