#!/bin/sh
# See to it that the demo finds an MQTT broker: the system's mosquitto, else one from PyPI.
set -eu

venv=$1
tools=$(dirname "$0")
has() { "$venv/bin/python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$1') is None)"; }

if command -v mosquitto >/dev/null || has iotcore || has amqtt; then
    exit 0
fi
echo "No mosquitto on this machine: installing the embedded broker iotcore (rumqttd)" >&2
if ! "$tools/venv.sh" "$venv" -e './simulator[broker]'; then
    echo "iotcore can't be had for this machine: installing amqtt (MQTT 3.1.1 only) in its place" >&2
    "$tools/venv.sh" "$venv" -e './simulator[broker-fallback]'
fi
