"""How the hall's machines are: statuses and counters, for the journal, the centre and the log."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from contract.commands import Refusal
from contract.documents import HallReport, Names, WindowStatus
from contract.events import DeviceChanged
from contract.names import DeviceId, DeviceStatus, Epoch, HallId, Presence, ServiceId
from edge import __version__
from edge.clock import Clock
from edge.controller import Controller
from edge.device_log import DeviceLog
from edge.stations.presses import Presses

log = logging.getLogger(__name__)


class Counting(Protocol):
    def counters(self) -> Mapping[str, int]:
        """Health counters since start."""
        ...


JOURNAL = "journal"
JOURNAL_RETRY_SECONDS = 1.0


class Health:
    """Knows every device's status, and makes each change durable."""

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        units: Mapping[DeviceId, Sequence[DeviceId]] | None = None,
    ) -> None:
        """``units``: the devices on each bus, for the log."""
        self.statuses: dict[DeviceId, DeviceStatus] = {}
        self._controller = controller
        self._clock = clock
        self._log = DeviceLog(units or {})
        self._unrecorded: dict[DeviceId, DeviceChanged] = {}
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        controller.on_journal_change(self._journal_changed)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change of any device's status."""
        self._listeners.append(listener)

    def status_changed(self, device: DeviceId, status: DeviceStatus, detail: str) -> None:
        """A driver reports (``edge.drivers.roles.StatusCallback``)."""
        self._log.changed(device, status, detail)
        self.statuses[device] = status
        self._unrecorded[device] = DeviceChanged(
            at=self._clock.now(), device=device, status=status, detail=detail[:200]
        )
        self._changed.set()
        for listener in self._listeners:
            listener()

    def _journal_changed(self) -> None:
        """The journal is something that can fail, like a device. While it refuses, ``run`` tries
        again to record just this, so that it is found healed without anybody pressing."""
        if self._controller.journal_refuses:
            self.status_changed(JOURNAL, DeviceStatus.FAULT, "it can't be written")
        else:
            self.status_changed(JOURNAL, DeviceStatus.ONLINE, "it can be written again")

    async def run(self) -> None:
        """Record changes until cancelled; while the journal refuses, the newest of each device."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, self._unrecorded = self._unrecorded, {}
            outcome = await self._controller.record(*changes.values())
            if isinstance(outcome, Refusal):
                self._unrecorded = {**changes, **self._unrecorded}
                self._changed.set()
                await asyncio.sleep(JOURNAL_RETRY_SECONDS)

    async def all_known(self, devices: int, at_most_seconds: float) -> None:
        """Return when so many devices have said how they are, or when the time is over."""
        known = asyncio.Event()

        def count() -> None:
            if len(self.statuses) >= devices:
                known.set()

        self.on_change(count)
        count()
        try:
            await asyncio.wait_for(known.wait(), at_most_seconds)
        except TimeoutError:
            log.warning("not all devices have answered yet: %d of %d", len(self.statuses), devices)
        finally:
            self._listeners.remove(count)


def counters_of(
    controller: Controller, devices: Mapping[DeviceId, Counting], presses: Sequence[Presses]
) -> dict[str, int]:
    """All counters that are not zero, in one flat table for people and dashboards."""
    counters = {
        "presses": sum(keypad.pressed for keypad in presses),
        "presses_refused": sum(keypad.refused for keypad in presses),
    }
    counters |= {f"refused.{reason}": count for reason, count in controller.refused.items()}
    for name, device in devices.items():
        counters |= {f"{name}.{what}": count for what, count in device.counters().items()}
    return {what: count for what, count in counters.items() if count}


def state_document(
    controller: Controller,
    health: Health,
    *,
    hall: HallId,
    epoch: Epoch,
    head: int,
    acked: int,
    counters: dict[str, int],
    clock: Clock,
    name: Names,
    service_names: Mapping[ServiceId, Names],
) -> HallReport:
    """The hall as it is now, for ``halls/{hall}/v1/state``."""
    now, state, plan = clock.now(), controller.state, controller.plan
    windows = [state.window(number) for number in plan.windows]
    return HallReport(
        hall=hall,
        presence=Presence.ONLINE,
        at=now.wall,
        epoch=epoch,
        head=head,
        acked=acked,
        version=__version__,
        name=name,
        service_names=dict(service_names),
        clock_synced=now.synced,
        business_day=state.business_day,
        phase=state.phase,
        waiting={service: state.lines.count(service) for service in plan.services},
        windows=tuple(
            WindowStatus(
                window=window.number,
                state=window.state,
                clerk=window.clerk,
                number=state.tickets[window.ticket].number if window.ticket else None,
            )
            for window in windows
        ),
        devices=dict(health.statuses),
        counters=counters,
    )
