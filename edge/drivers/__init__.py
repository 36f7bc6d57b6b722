"""Devices: one file per protocol, a pure codec under a thin transport; roles say what they do."""
