"""Tell the service manager how this service is doing: systemd's notification protocol.

One datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names, see sd_notify(3).
Both daemons use it: ``notify("READY=1", status="6 windows")`` once everything runs,
``feed_watchdog`` while what matters answers, ``notify("STOPPING=1")`` at the beginning of the end.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)


def notify(*assignments: str, status: str = "", environ: Mapping[str, str] = os.environ) -> bool:
    """Send ``assignments`` (``READY=1``, ``WATCHDOG=1``, …) and a one-line ``status`` for people.

    Returns whether it was told. ``False`` where no service manager listens, and where one did and
    does not any more, or is too busy: that is said in the log, for a hall goes on, and closes in
    order, without its manager. Never blocks. ``ValueError`` for an address that is neither a path
    nor an abstract name, for a line that is no assignment, and for a line break, which would
    smuggle in another assignment.
    """
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address[0] not in "/@":
        raise ValueError(f"NOTIFY_SOCKET is neither a path nor an abstract name: {address!r}")
    lines = [*assignments, *([f"STATUS={status}"] if status else [])]
    for line in lines:
        if "=" not in line or "\n" in line:
            raise ValueError(f"not one NAME=value line: {line!r}")
    if address[0] == "@":  # Linux's abstract namespace: the name begins with a null byte
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        try:
            manager.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("the service manager can't be told %s: %s", lines[0], error)
            return False
    return True


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """The manager's time limit between two ``WATCHDOG=1``; ``None`` where it doesn't watch us.

    ``WATCHDOG_PID`` guards against a variable that was inherited but meant for our parent.
    ``ValueError`` when the manager's number is none.
    """
    microseconds = environ.get("WATCHDOG_USEC")
    if not microseconds or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


async def feed_watchdog(answers: Callable[[], Awaitable[bool]], who: str) -> None:
    """Send ``WATCHDOG=1`` whenever ``answers()`` is true, until cancelled; returns at once where
    nobody watches.

    One that is slow is waited for, so that a stall shorter than five sixths of the limit is
    survived: whoever answers at all is alive. One that never answers is never asked again, and the
    manager restarts us. ``who`` has not answered is said in the log after a third of the limit.
    ``answers`` says itself why it is false.
    """
    limit = watchdog_seconds()
    if limit is None:
        return
    loop = asyncio.get_running_loop()
    while True:
        late = loop.call_later(
            limit / 3, log.critical, "%s not answered within %.1f s", who, limit / 3
        )
        try:
            if await answers():
                notify("WATCHDOG=1")
        finally:
            late.cancel()
        await asyncio.sleep(limit / 6)
