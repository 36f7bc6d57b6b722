#!/bin/sh
# Make the environment and install into it, with short progress on stderr:
#   tools/venv.sh VENV REQUIREMENT...     (anything that pip install takes)
# Versions are those of requirements/constraints.txt. The whole of pip's talk is in VENV/install.log.
set -eu

venv=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
constraints=$root/requirements/constraints.txt
log=$venv/install.log
say() { printf '%s\n' "$*" >&2; }

# pip's output as progress: on a terminal one line that changes, elsewhere nothing.
progress() {
    if [ -t 2 ]; then
        awk '{ print > log_file; fflush(log_file) }
             /^Collecting / { printf "\r\033[K  %3d %s", ++n, $2 > "/dev/stderr" }
             /^(Building|Installing) / { printf "\r\033[K  %s", substr($0, 1, 70) > "/dev/stderr" }
             END { if (n) printf "\r\033[K" > "/dev/stderr" }' log_file="$log"
    else
        cat > "$log"
    fi
}

pip_install() {
    # The exit code goes round the pipe by a file: plain sh has no pipefail.
    { "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
        --progress-bar off -c "$constraints" "$@" 2>&1 || echo $? > "$venv/.failed"; } | progress
    if [ -e "$venv/.failed" ]; then
        rm "$venv/.failed"
        tail -n 20 "$log" >&2
        say "pip could not install: $*"
        say "The whole log: $log"
        return 1
    fi
}

if [ ! -e "$venv/.made" ]; then
    python=$("$root/tools/find-python.sh")
    say "Making $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear "$venv"
    # Our five distributions build with this one setuptools, instead of fetching it five times.
    pip_install setuptools
    touch "$venv/.made"
fi
say "Installing: $*"
pip_install --no-build-isolation "$@"
