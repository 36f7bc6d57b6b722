"""TCP ports for programs that are started in a moment, and again after each kill."""

import random
import socket
from contextlib import ExitStack
from pathlib import Path

FIRST_PORT = 10_000
"""Below are the well-known ones."""
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(*wishes: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has now, all different: those wished for (0: any) where free.

    Others are taken from outside the range from which the kernel serves whoever asks for any port
    or dials out: one of those, free now, may be somebody's connection when the broker, killed a
    second ago, wants it back.
    """
    others = _ports_not_given_away()
    with ExitStack() as held:

        def hold(port: int) -> int:
            sock = held.enter_context(socket.create_server(("127.0.0.1", port)))
            return int(sock.getsockname()[1])

        def hold_any() -> int:
            for port in random.sample(others, len(others)):
                try:
                    return hold(port)
                except OSError:
                    continue
            return hold(0)

        ports = []
        for wish in wishes:
            try:
                ports.append(hold(wish) if wish else hold_any())
            except OSError:
                ports.append(hold_any())
        return ports


def _ports_not_given_away() -> list[int]:
    """Those the kernel gives to nobody by itself (ip(7), ``ip_local_port_range``)."""
    first, last = map(int, EPHEMERAL_RANGE.read_text(encoding="ascii").split())
    return [*range(FIRST_PORT, first), *range(last + 1, 65_536)]
