#!/bin/sh
# Install the programs that the tests need, those that are missing, where the system has apt.
# Elsewhere say which are missing: the tests that need them fail or are skipped, and say so. A machine
# with CI set has no excuse: there a missing program is an error.
set -eu

# What to look for (a program, or a file pattern) and the Debian package that brings it.
needs() {
    cat <<'TABLE'
mosquitto                                   mosquitto
mosquitto_pub                               mosquitto-clients
mbpoll                                      mbpoll
socat                                       socat
systemd-analyze                             systemd
openssl                                     openssl
node                                        nodejs
npm                                         npm
chromium                                    chromium
/usr/lib/*/libatomic.so.1                   libatomic1
/usr/share/fonts/opentype/noto/NotoSansCJK* fonts-noto-cjk
TABLE
}

is_there() {
    case $1 in
    /*) ls $1 >/dev/null 2>&1 ;; # unquoted: it is a pattern
    *) command -v "$1" >/dev/null ;;
    esac
}

missing() {
    needs | while read -r what package; do
        is_there "$what" || echo "$package"
    done
}

packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Missing, by their Debian names: $packages" >&2
    echo "Install what your system calls them; until then the tests that need them do not pass." >&2
elif [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "The tests need programs that only root can install here. As root, run:" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends $packages" >&2
    echo "Until then the tests that need them do not pass." >&2
else
    echo "Installing for the tests: $packages" >&2
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    install() {
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends $packages >&2
    }
    # The lists of a machine that was long off, or is fresh, are stale or not there at all.
    install || { $as_root apt-get update -qq >&2 && install; }
fi

packages=$(missing | tr '\n' ' ')
if [ -n "$packages" ] && [ -n "${CI:-}" ]; then
    echo "Still missing: $packages" >&2
    exit 1
fi
