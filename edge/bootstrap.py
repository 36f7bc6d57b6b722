"""The one place where a hall is put together."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from random import SystemRandom
from typing import TypeVar

from contract.commands import Refusal
from contract.documents import HallReport
from contract.events import ControllerStarted
from contract.names import DeviceId, DeviceStatus
from edge import __version__, snapshot
from edge.clock import Clock
from edge.config import HallConfig
from edge.controller import Controller
from edge.drivers.config import Role
from edge.hardware import Hardware, units_of
from edge.health import Health, counters_of, state_document
from edge.journal.errors import JournalDamaged
from edge.journal.journal import Journal
from edge.old_copy import OldCopy
from edge.queue.apply import apply
from edge.queue.machines import ImpossibleEvent
from edge.queue.numbers import spent_by
from edge.queue.state import DAYS_REMEMBERED, HallState
from edge.stations.desk import Desk
from edge.stations.dispenser import Dispenser, SlipDesign
from edge.stations.waits import Waits
from edge.ulid import new_ulid
from edge.upkeep import DayKeeper, SnapshotKeeper, keep_screens_fresh
from edge.uplink import Uplink
from edge.watchdog import feed_watchdog
from edge.wind_up import wind_up_removed_services, wind_up_removed_windows
from edge.words import counted
from messaging.service_notify import notify
from messaging.session import MqttConfig, TlsConfig, new_client_id

log = logging.getLogger(__name__)

Part = TypeVar("Part")

OLDEST_SQLITE = (3, 38)
"""The first with the operator ->>, which the journal's schema uses."""
UPLINK_PAUSE_SECONDS = 5.0
DEVICES_MAY_TAKE_SECONDS = 1.5
"""So long a start waits for devices to answer before it says that it is ready."""


class CannotStart(Exception):
    """The hall can't be opened; the message says why and what to do."""


async def run_hall(config: HallConfig, clock: Clock, stop: asyncio.Event) -> None:
    """Run a hall until ``stop`` is set. Raises ``JournalError`` or ``CannotStart`` at the start.

    What is on disk stays right whatever ends this; a clean stop also saves a snapshot and tells
    the centre.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise CannotStart(
            f"Python's SQLite is {sqlite3.sqlite_version}, and {oldest} or newer is needed: "
            "use a Python that brings one (Debian 12's does)"
        )
    journal = await Journal.open(config.journal.path, hall=config.hall.id, new_epoch=new_ulid)
    try:
        state, position = await restore(journal)
        if journal.wants_new_epoch:
            await journal.start_new_epoch()
        hall = Hall(
            config, clock, journal, Controller(config.plan(), state, position, journal, clock)
        )
        await hall.run(stop)
    finally:
        await journal.close()


_TELL_EVERY_EVENTS = 5_000
_MORE_TIME_SECONDS = 60


def _tell_progress(done: int, of: int) -> None:
    """A new version replays the whole past once: the service manager must not take a start that
    goes on for one that hangs, nor people either."""
    more_time = f"EXTEND_TIMEOUT_USEC={_MORE_TIME_SECONDS * 1_000_000}"
    notify(more_time, status=f"replaying the journal: {done:,} of {of:,} events")
    if done % (20 * _TELL_EVERY_EVENTS) == 0:
        log.info("replaying the journal: %s of %s events", f"{done:,}", f"{of:,}")


async def restore(journal: Journal) -> tuple[HallState, int]:
    """The state that the journal's events make, and the position of the last: the newest usable
    snapshot and the tail behind it. What the journal guards as spent is known to be."""
    state, position = await _last_known(journal)
    anew = state is None
    state = state or HallState()
    async for at, event in journal.events_since(position):
        if at % _TELL_EVERY_EVENTS == 0:
            _tell_progress(at, journal.position)
        try:
            state, position = apply(state, event), at
        except ImpossibleEvent as impossible:
            raise JournalDamaged(journal.path, f"event {at}: {impossible}") from impossible
    since = None if anew else state.business_day
    # Today and the other days that a state remembers.
    async for day, numbers in journal.spent_numbers(since, days=DAYS_REMEMBERED + 1):
        state = state.with_spent(day, spent_by(numbers))
    return state, position


async def _last_known(journal: Journal) -> tuple[HallState | None, int]:
    """The state to begin with, none for a hall that begins anew, and its position."""
    saved = await journal.load_snapshot()
    while saved is not None and saved.state:
        try:
            return snapshot.from_json(saved.state), saved.position
        except snapshot.SnapshotUnreadable as error:
            log.warning("replaying the journal: %s", error)
            saved = await journal.load_snapshot(before=saved.position)
    return None, saved.position if saved is not None else 0


class Hall:
    """All parts of one hall, and the order in which they start and stop."""

    def __init__(
        self, config: HallConfig, clock: Clock, journal: Journal, controller: Controller
    ) -> None:
        self._config = config
        self._clock = clock
        self._journal = journal
        self._controller = controller
        self._health = Health(controller, clock, units_of(config.devices, config.buses))
        self._hardware = Hardware(config.devices, config.buses, self._health.status_changed)
        self._old_copy = OldCopy(controller, journal, clock)
        self._days = DayKeeper(controller, clock, self._old_copy.settle_when_dated)
        self._snapshots = SnapshotKeeper(controller, journal)
        self._waits = Waits(controller, clock)
        self._desks = self._make_desks(self._hardware)
        self._dispenser = self._make_dispenser(self._hardware)
        self._uplink = self._make_uplink()

    async def run(self, stop: asyncio.Event) -> None:
        """Open the hall, serve until ``stop``, close in the order in which nothing is lost."""
        writer = asyncio.create_task(self._controller.run(), name="writer")
        try:
            await self._open()
            await self._serve(stop, writer)
        finally:
            notify("STOPPING=1")
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await self._snapshots.save()

    async def _open(self) -> None:
        started = ControllerStarted(at=self._clock.now(), version=__version__)
        outcome = await self._controller.record(started)
        if isinstance(outcome, Refusal):
            raise CannotStart(outcome.detail)
        await wind_up_removed_windows(self._controller)
        await wind_up_removed_services(self._controller)
        await self._days.check()
        if self._journal.was_put_back:
            if not await self._old_copy.leave_out_numbers():
                raise CannotStart(
                    "the journal is an old copy that was put back, and the numbers that may be on "
                    "somebody's paper can't be left out: see above"
                )
            await self._old_copy.settle()

    async def _serve(self, stop: asyncio.Event, writer: "asyncio.Task[None]") -> None:
        """Everything that works side by side. One that fails ends all: a half hall is no hall, and
        the service manager starts it again."""
        async with asyncio.TaskGroup() as tasks:
            serving = [
                tasks.create_task(_ends_with(writer), name="watch the writer"),
                tasks.create_task(self._health.run(), name="health"),
                tasks.create_task(self._days.run(), name="days"),
                tasks.create_task(self._snapshots.run(), name="snapshots"),
                tasks.create_task(
                    keep_screens_fresh(self._controller, self._refresh), name="screens"
                ),
                *(tasks.create_task(desk.run(), name="desk") for desk in self._desks),
                *(
                    tasks.create_task(supervisor.run(), name=f"device {name}")
                    for name, supervisor in self._hardware.supervisors.items()
                ),
                tasks.create_task(
                    feed_watchdog(self._controller, self._journal.check), name="watchdog"
                ),
            ]
            if self._dispenser is not None:
                serving.append(tasks.create_task(self._dispenser.run(), name="dispenser"))
            if self._uplink is not None:
                serving.append(tasks.create_task(_for_ever(self._uplink.run), name="uplink"))
            await self._say_ready()
            await stop.wait()
            notify("STOPPING=1")  # before the keys are dead, not after
            log.info("stopping")
            for task in serving:
                task.cancel()

    async def _say_ready(self) -> None:
        devices = self._hardware.supervisors
        await self._health.all_known(len(devices), DEVICES_MAY_TAKE_SECONDS)
        online = sum(status is DeviceStatus.ONLINE for status in self._health.statuses.values())
        windows = counted(len(self._desks), "window")
        summary = f"{windows}, {online} of {counted(len(devices), 'device')} online"
        log.info("ready: %s", summary)
        notify("READY=1", status=summary)

    def _refresh(self) -> None:
        self._waits.forget()
        for desk in self._desks:
            desk.refresh()

    # --- making the parts ---------------------------------------------------------------------

    def _make_desks(self, hardware: Hardware) -> list[Desk]:
        config = self._config

        def at(window: int, role: Role) -> list[DeviceId]:
            devices = config.with_role(role)
            return [name for name, device in devices.items() if device.window == window]

        return [
            Desk(
                self._controller,
                self._clock,
                number,
                clerk=window.clerk,
                callers=_pick(hardware.keypads, at(number, Role.CALLER)),
                evaluators=_pick(hardware.keypads, at(number, Role.EVALUATOR)),
                screens=_pick(hardware.screens, at(number, Role.CALL_SCREEN)),
                language=config.hall.languages[0],
                rating_seconds=config.rules.rating_seconds,
                waits=self._waits,
            )
            for number, window in config.windows.items()
        ]

    def _make_dispenser(self, hardware: Hardware) -> Dispenser | None:
        config = self._config
        keypads = _pick(hardware.keypads, config.with_role(Role.DISPENSER))
        if not keypads:
            return None
        (printer,) = hardware.printers.values()
        dispenser = Dispenser(
            self._controller,
            self._clock,
            keypads=keypads,
            printer=printer,
            design=SlipDesign(
                hall=config.hall.id,
                hall_name=config.hall.name,
                service_names={name: service.name for name, service in config.services.items()},
                languages=config.hall.languages,
                ticket_url=config.hall.ticket_url,
            ),
            rules=config.print_rules(),
            new_ticket_id=new_ulid,
        )
        self._health.on_change(dispenser.printer_changed)
        return dispenser

    def _make_uplink(self) -> Uplink | None:
        section = self._config.uplink
        if section is None:
            return None
        hall = self._config.hall.id
        password = None
        if section.password_file is not None:
            password = _secret(section.password_file)
        tls = None
        if section.tls is not None:
            tls = TlsConfig(section.tls.ca_file, section.tls.cert_file, section.tls.key_file)
        mqtt = MqttConfig(
            host=section.host,
            port=section.port,
            client_id=new_client_id(hall),
            username=section.username or hall,
            password=password,
            tls=tls,
            protocol=section.protocol,
        )
        uplink = Uplink(
            hall=hall,
            journal=self._journal,
            mqtt=mqtt,
            state_document=self._document,
            submit=self._controller.submit,
            old_copy=self._old_copy,
            clock=self._clock,
            random=SystemRandom(),
            heartbeat_seconds=section.heartbeat_seconds,
        )
        self._controller.subscribe(lambda event, state: uplink.notify())  # noqa: ARG005
        return uplink

    def _document(self) -> HallReport:
        presses = [presses for desk in self._desks for presses in desk.presses]
        if self._dispenser is not None:
            presses += self._dispenser.presses
        counters = counters_of(self._controller, self._hardware.supervisors, presses)
        if self._uplink is not None:
            counters |= self._uplink.counters()
        return state_document(
            self._controller,
            self._health,
            hall=self._config.hall.id,
            epoch=self._journal.epoch,
            head=self._journal.head,
            acked=self._journal.acked,
            counters=counters | dict(self._journal.counters),
            clock=self._clock,
            name=self._config.hall.name,
            service_names={name: service.name for name, service in self._config.services.items()},
        )


async def _ends_with(task: "asyncio.Task[None]") -> None:
    """Fail when ``task`` ends in any way: a hall without its writer answers nobody."""
    await asyncio.wait([task])
    error = None if task.cancelled() else task.exception()
    raise RuntimeError(f"the {task.get_name()} ended by itself") from error


async def _for_ever(run: Callable[[], Awaitable[None]]) -> None:
    """A hall works without a network: a bug on the way to the centre must not stop it."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("the uplink failed, again in %.0f s", UPLINK_PAUSE_SECONDS)
        await asyncio.sleep(UPLINK_PAUSE_SECONDS)


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise CannotStart(
            f"uplink.password_file: {path} can't be read: {why}. Write the hall's MQTT "
            "password into it, readable by this user alone"
        ) from error


def _pick(parts: Mapping[DeviceId, Part], names: Iterable[DeviceId]) -> list[Part]:
    return [parts[name] for name in names]
