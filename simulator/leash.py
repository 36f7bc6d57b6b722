"""Start a program that dies with its parent, whatever kills the parent.

    python -I -S leash.py PARENT_PID NICENESS PROGRAM ARGUMENT…

Asks the kernel (prctl(2), PR_SET_PDEATHSIG) for SIGKILL at the end of the parent, takes that
niceness, and becomes the program. Stands alone, so that it starts in milliseconds.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, niceness, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended before we could ask
        sys.exit("the parent is gone")
    with suppress(PermissionError):  # only root may be less nice than its parent
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
