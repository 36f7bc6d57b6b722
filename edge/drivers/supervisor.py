"""Keeps one device in service: run, back off, run again. One supervisor, one task per device."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from contract.names import DeviceStatus
from edge.drivers.roles import Device, StatusCallback

_log = logging.getLogger(__name__)

FIRST_BACK_OFF_SECONDS = 0.2
LONGEST_BACK_OFF_SECONDS = 5.0
STEADY_SECONDS = 10.0
"""A run at least this long was a good one: the next failure is a first failure again."""


class Supervisor:
    """Runs ``device.run()`` for ever. Nothing but cancelling ends it, so no device stops another.

    An ``OSError`` is daily life (unplugged, switched off): ``offline``, and again after a back-off.
    Any other exception is a bug in the driver: logged with its traceback, counted as ``crashed``,
    ``fault``, and again after the same back-off.

    Give ``on_status`` and the device the same ``health.OncePerChange``, so that a change which both
    notice is reported once.
    """

    def __init__(
        self,
        device: Device,
        on_status: StatusCallback,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._on_status = on_status
        self._sleep = sleep
        self._monotonic = monotonic
        self._back_off = FIRST_BACK_OFF_SECONDS
        self._counts: Counter[str] = Counter()

    def counters(self) -> Mapping[str, int]:
        """The device's counters, and ``runs``, ``lost`` and ``crashed`` of its runs."""
        return {**self._device.counters(), **self._counts}

    async def run(self) -> None:
        while True:
            started = self._monotonic()
            self._counts["runs"] += 1
            await self._run_once()
            if self._monotonic() - started >= STEADY_SECONDS:
                self._back_off = FIRST_BACK_OFF_SECONDS
            await self._sleep(self._back_off)
            self._back_off = min(2 * self._back_off, LONGEST_BACK_OFF_SECONDS)

    async def _run_once(self) -> None:
        try:
            await self._device.run()
        except OSError as error:
            self._lost(str(error))
        except Exception as error:  # noqa: BLE001 - a driver's bug must not stop the hall
            if isinstance(error, ExceptionGroup) and error.split(OSError)[1] is None:
                self._lost(str(error.exceptions[0]))
            else:
                self._crashed(error)
        else:
            self._lost("the driver ended by itself")

    def _lost(self, why: str) -> None:
        self._counts["lost"] += 1
        # An absent device fails every few seconds, all night; its change is said by the hall's log.
        _log.debug("device %s lost: %s", self._device.id, why)
        self._on_status(self._device.id, DeviceStatus.OFFLINE, why)

    def _crashed(self, error: Exception) -> None:
        self._counts["crashed"] += 1
        _log.error("driver of device %s crashed", self._device.id, exc_info=error)
        detail = f"driver bug: {type(error).__name__}: {error}"
        self._on_status(self._device.id, DeviceStatus.FAULT, detail)


async def run_together(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends or fails, end the others, and raise what it raised, unwrapped.

    Where several failed, a bug is raised rather than an ``OSError``.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [result for result in results if isinstance(result, Exception)]
    for failure in sorted(failures, key=lambda failure: isinstance(failure, OSError)):
        raise failure
