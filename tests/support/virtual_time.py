"""An event loop whose time is virtual: it jumps to the next timer when nothing else is to do.

A test that is about time is exact on it, takes as long as its computing, and can't tell a busy
machine from an idle one. For what lives in memory: sockets, ptys and threads keep real time.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

_P = ParamSpec("_P")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now_seconds


class _Jumping(selectors.DefaultSelector):
    """Where another would sleep, this one moves the clock."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and there is no timer that could end it")
        ready = super().select(0)
        if not ready:
            self._loop.now_seconds += max(0.0, timeout)
        return ready


def in_virtual_time(
    test: Callable[_P, Coroutine[Any, Any, None]],
) -> Callable[_P, None]:
    """Run an ``async`` test on a ``VirtualTimeLoop`` of its own."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
