#!/bin/sh
# Print the Python to build the environment with: at least 3.11, and able to make one.
# With --all: one such Python per minor version, of those on PATH and those that pyenv has.
# Where there is none, the last line on stderr is the one command that mends it.
set -eu

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_make_venv() { "$1" -c 'import ensurepip, venv; ensurepip.version()' 2>/dev/null; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

candidates() {
    [ -z "${PYTHON:-}" ] || { command -v "$PYTHON" || true; return; }
    for name in python3 python3.13 python3.12 python3.11; do command -v "$name" || true; done
    [ "${1:-}" = --all ] || return 0
    for path in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
        [ ! -x "$path" ] || echo "$path"
    done
}

if [ "${1:-}" = --all ]; then
    seen=" "
    for python in $(candidates --all); do
        is_new_enough "$python" && can_make_venv "$python" || continue
        version=$(version_of "$python")
        case $seen in *" $version "*) continue ;; esac
        seen="$seen$version "
        echo "$python"
    done
    exit 0
fi

lacks_venv="" too_old=""
for python in $(candidates); do
    version_of "$python" >/dev/null || continue # a shim without a Python behind it
    if ! is_new_enough "$python"; then
        too_old=${too_old:-$python}
    elif ! can_make_venv "$python"; then
        lacks_venv=${lacks_venv:-$python}
    else
        echo "$python"
        exit 0
    fi
done

# --- none: say why, and what to type -----------------------------------------------------------

as_root=$([ "$(id -u)" = 0 ] || echo "sudo ")
is_in_apt() { apt-cache show "$1" 2>/dev/null | grep -q '^Package:'; }

# The command that gives this machine a Python >= 3.11 which can make environments.
mend() {
    if command -v apt-get >/dev/null; then
        fresh=$(ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || echo "${as_root}apt-get update && ")
        package=python3-venv
        if [ -n "$lacks_venv" ]; then
            case $lacks_venv in
            */python3) ;;
            *) package=python$(version_of "$lacks_venv")-venv ;;
            esac
        elif [ -n "$too_old" ]; then
            package=""
            for minor in 13 12 11; do
                ! is_in_apt "python3.$minor-venv" || { package=python3.$minor-venv; break; }
            done
        fi
        [ -z "$package" ] || echo "$fresh${as_root}apt-get install -y $package"
    elif command -v dnf >/dev/null; then
        echo "${as_root}dnf install -y python3.12"
    elif command -v zypper >/dev/null; then
        echo "${as_root}zypper install -y python312"
    elif command -v pacman >/dev/null; then
        echo "${as_root}pacman -S --noconfirm python"
    elif command -v apk >/dev/null; then
        echo "${as_root}apk add python3"
    fi
}

if [ -n "${PYTHON:-}" ] && [ -z "$lacks_venv$too_old" ]; then
    echo "PYTHON=$PYTHON is not a program." >&2
elif [ -n "$lacks_venv" ]; then
    echo "$lacks_venv can't make a virtual environment (its venv package is missing). Run:" >&2
elif [ -n "$too_old" ]; then
    echo "$too_old is Python $(version_of "$too_old"); Now Serving needs 3.11 or newer. Run:" >&2
else
    echo "There is no python3; Now Serving needs Python 3.11 or newer. Run:" >&2
fi
command=$(mend)
if [ -n "$command" ]; then
    echo "  $command" >&2
else
    echo "  make PYTHON=/path/to/python3.11   # one that you installed; this system offers none" >&2
fi
exit 1
