"""One process has the centre's file, and no other."""

import fcntl
import os
from pathlib import Path

from cloud_sync.store.errors import KEY, StoreError, StoreLocked, no_file


class FileLock:
    """Held by the one process that has the file open; the kernel frees it when that dies."""

    def __init__(self, path: Path) -> None:
        """Raises ``StoreLocked`` and ``StoreError``."""
        try:
            true = path.resolve()  # by whatever link it is opened, it is one file
            if not true.parent.is_dir():  # made here, it would hide a disk that is not mounted
                raise StoreError(
                    f"store {path}: there is no folder {true.parent}. Mount its disk or make it, "
                    f"or name another file: {KEY}"
                )
            lock = true.with_name(true.name + ".lock")
            self._fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before 3.13
            raise no_file(path, error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise StoreLocked(
                f"store {path} is open in another process: stop the other nowserving-sync first, "
                "or give this one a file of its own (key path in [store])"
            ) from None

    def release(self) -> None:
        os.close(self._fd)
