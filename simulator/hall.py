"""The virtual hall: devices, programs and people in one place, to look at and to act on.

The daemon, the centre and the broker are separate processes; all they have in common with this
one are wires. ``snapshot`` says what can be seen, ``perform`` does what a hand can do.
"""

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from math import inf
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge.clock import SharedScaledClock
from simulator import layout, records
from simulator.broker import BrokerPlan, Kind, plan_broker
from simulator.devices import Relay, RelayMode
from simulator.fittings import PRINTER, Fittings
from simulator.habits import DOORS_CLOSE_AT, DOORS_OPEN_AT
from simulator.layout import MAX_SPEED, MIN_SPEED, Places, Wiring
from simulator.ledger import EXCUSED_WITHIN_SECONDS, Ledger
from simulator.panels import Panel
from simulator.people import People
from simulator.ports import free_ports
from simulator.processes import Program, Readiness, stop_in_order
from simulator.tasks import in_background
from simulator.timeline import Timeline

log = logging.getLogger(__name__)

BEGINS_AT = time(8, 29, 50)
"""Hall time at which the demo begins: clerks come to their windows, the doors are about to open."""
NIGHT_BEGINS_AT, NIGHT_ENDS_AT = time(18, 0), time(8, 20)
NIGHT_SPEED = 3600.0
LOOK_SECONDS = 0.1
HEALS_WITHIN_SECONDS = 15.0
"""A device that is plugged in again, or a daemon that is back, has so long to find each other."""
CLEAR_ENVIRONMENT = ("GPIOZERO_PIN_FACTORY", "PIGPIO_ADDR", "PIGPIO_PORT", "NOTIFY_SOCKET")
ISSUED_BEFORE_SECONDS = 1.0
"""So long before its lamp says ``accepted``, at most, a number was issued."""
HAPPENINGS_KEPT = 60
DEVICES_NICENESS = -5
DAEMON_NICENESS = -5
"""Where we may (as root): its unit asks for the same, for a finger does not wait for a browser.
And real devices answer with processors of their own."""
ELSEWHERE_NICENESS = 5
"""Centre and broker have a machine of their own in a real network."""


class BadAction(ValueError):
    """An action that this hall can't perform; the message says why."""


@dataclass(frozen=True)
class HallOptions:
    windows: int = 6
    speed: float = 10.0
    seed: int = 7
    broker: Kind | None = None
    """``None``: the best there is."""
    centre_port: int = 0
    """Of the centre's page; a free one where it is 0 or taken."""
    directory: Path | None = None
    """Kept. ``None``: a temporary one, removed at the end."""


class VirtualHall:
    """Everything that ``nowserving demo`` runs."""

    def __init__(self, options: HallOptions) -> None:
        self.options = options
        self._temporary = Path(tempfile.mkdtemp(prefix="nowserving-"))
        directory = options.directory or self._temporary
        directory.mkdir(parents=True, exist_ok=True)
        self.places = Places(directory.resolve(), self._temporary, layout.windows(options.windows))
        self.fittings = Fittings(self.places, seed=options.seed)
        self.ledger = Ledger(
            self._excuse,
            outages=self._outages,
            unplugged=self._unplugged,
            prints_again=self._prints_again,
        )
        self.happenings: deque[dict[str, Any]] = deque(maxlen=HAPPENINGS_KEPT)
        zone = ZoneInfo(layout.TIME_ZONE)
        start = datetime.combine(datetime.now(zone).date(), BEGINS_AT, zone)
        SharedScaledClock.create(self.places.clock_file, start, options.speed)
        self.clock = SharedScaledClock(self.places.clock_file)
        self.speed = options.speed
        self.night = False
        self.timeline = Timeline()
        self.ordinary_seconds = 0.0
        self.ordinary_hall_seconds = 0.0
        """For how long people were at work in an open hall in which nothing was broken."""
        self.screen_cables: dict[int, Readiness] = {n: Readiness() for n in self.fittings.windows}
        """When each window's screen was plugged."""
        for cable in self.screen_cables.values():
            cable.set(True, -inf)
        self.printer_well = Readiness()
        """When the printer had power, paper and its cable."""
        self.printer_well.set(True, -inf)
        try:
            self.broker_plan, self.relay, self.programs = self._plan_programs()
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        self.people = People(
            self.fittings,
            self.clock,
            seed=options.seed,
            speed=options.speed,
            say=self.say,
        )
        self._observers: list[Callable[[], None]] = []
        self._hands: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._network: asyncio.Task[None] | None = None
        self._network_back_at: datetime | None = None
        self._closing = False
        self._watch()

    @property
    def daemon(self) -> Program:
        return self.programs["daemon"]

    @property
    def broker(self) -> Program:
        return self.programs["broker"]

    @property
    def centre(self) -> Program:
        return self.programs["centre"]

    @property
    def centre_url(self) -> str:
        return f"http://127.0.0.1:{self._centre_port}/"

    # --- beginning and end ------------------------------------------------------------------------

    async def start(self) -> None:
        """Wire the devices, write the configurations, start the programs. Raises ``OSError`` and
        ``ProgramFailed``; ``stop`` is still to be called then."""
        await self.fittings.start()
        await self.relay.start()
        self._write_configurations()
        self._looking = in_background(self._look(), "looking around")
        for name in ("broker", "centre", "daemon"):
            await self.programs[name].start()

    async def stop(self) -> None:
        """End everything in the order in which nothing is lost, and clean up."""
        tasks = [task for task in (self._looking, self._network, *self._hands) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await stop_in_order(
                [
                    self.people.stop,
                    self.daemon.stop,
                    self.centre.stop,
                    self.broker.stop,
                    self.relay.stop,
                    self.fittings.stop,
                ]
            )
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _plan_programs(self) -> tuple[BrokerPlan, Relay, dict[str, Program]]:
        port, websocket_port, self._centre_port = free_ports(0, 0, self.options.centre_port)
        plan = plan_broker(
            self.places.directory / "broker",
            hall=layout.HALL,
            port=port,
            websocket_port=websocket_port,
            kind=self.options.broker,
        )
        python = (sys.executable, "-P", "-m")  # whatever is in the current directory
        commands: dict[str, tuple[str, ...]] = {
            "daemon": (
                *(*python, "edge.cli", "run"),
                *("--config", str(self.places.hall_config)),
                *("--clock-file", str(self.places.clock_file)),
            ),
            "centre": (
                *(*python, "cloud_sync.cli", "run"),
                *("--config", str(self.places.sync_config)),
            ),
            "broker": tuple(plan.command),
        }
        programs = {
            name: Program(
                name,
                command,
                log_file=self.places.log(name),
                socket_directory=self._temporary,
                environment={"LG_WD": str(self._temporary)},
                ports=(port, websocket_port) if name == "broker" else (),
                niceness=DAEMON_NICENESS if name == "daemon" else ELSEWHERE_NICENESS,
            )
            for name, command in commands.items()
        }
        return plan, Relay("127.0.0.1", port), programs

    def _write_configurations(self) -> None:
        fittings, plan = self.fittings, self.broker_plan
        wiring = Wiring(
            printer=fittings.printer.endpoint.url,
            pigpio=f"{fittings.pi.host}:{fittings.pi.port}",
            buses={name: bus.endpoint.url for name, bus in fittings.buses.items()},
            screens={number: screen.endpoint.url for number, screen in fittings.screens.items()},
            broker_port=self.relay.port,
        )
        hall = plan.users[layout.HALL]
        self.places.hall_config.write_text(
            layout.hall_toml(
                self.places,
                wiring,
                speed=self.options.speed,
                username=hall.name,
                password_file=hall.password_file,
                protocol=plan.protocol,
            ),
            encoding="utf-8",
        )
        self.places.sync_config.write_text(
            layout.sync_toml(
                self.places,
                broker_port=plan.port,
                websocket_port=plan.websocket_port,
                password_file=plan.users["centre"].password_file,
                dashboards_password_file=plan.users["dashboards"].password_file,
                protocol=plan.protocol,
                page_port=self._centre_port,
            ),
            encoding="utf-8",
        )

    # --- seeing -----------------------------------------------------------------------------------

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this whenever ``snapshot`` may say something else; it must return at once."""
        self._observers.append(callback)

    def say(self, text: str) -> None:
        """Something worth telling happened."""
        self.happenings.append({"at": self.now().isoformat(timespec="seconds"), "text": text})
        with self.places.log("hall").open("a", encoding="utf-8") as chronicle:
            chronicle.write(
                f"{asyncio.get_running_loop().time():.3f} {self.now():%H:%M:%S} {text}\n"
            )
        self._changed()

    def now(self) -> datetime:
        """Hall time, in the hall's zone."""
        return self.clock.now().wall.astimezone(ZoneInfo(layout.TIME_ZONE))

    def snapshot(self) -> dict[str, Any]:
        """All that can be seen, ready for JSON. Times are hall time, in the hall's zone."""
        return {
            "hall": {
                "id": layout.HALL,
                "name": dict(layout.HALL_NAME),
                "time": self.now().isoformat(timespec="seconds"),
                "speed": self.speed,
                "night": self.night,
                "centre_url": self.centre_url,
            },
            "services": [
                {"id": s.id, "prefix": s.prefix, "name": dict(s.name)} for s in layout.SERVICES
            ],
            **self.fittings.snapshot(),
            "people": self.people.snapshot(),
            "programs": {name: _program(program) for name, program in self.programs.items()},
            "broker": {"kind": self.broker_plan.kind, "description": self.broker_plan.description},
            "faults": self.faults(),
            "figures": self.figures(),
            "happenings": list(self.happenings),
        }

    def faults(self) -> dict[str, Any]:
        """What is wrong now, and what could be unplugged."""
        printer = self.fittings.printer
        back_at = self._network_back_at
        return {
            "paper_out": printer.paper_out,
            "paper_low": printer.paper_low,
            "printer_off": not printer.powered,
            "cables": self.fittings.cables,
            "unplugged": [c for c in self.fittings.cables if self._is_out(c)],
            "broker_down": self.broker.held,
            "network_down": self.relay.mode is not RelayMode.UP,
            "network_back_at": back_at.isoformat(timespec="seconds") if back_at else None,
        }

    def _is_out(self, cable: str) -> bool:
        """A printer that is off takes its link along; nobody pulled the cable, and plugging it in
        would mend nothing."""
        if cable == PRINTER and not self.fittings.printer.powered:
            return False
        return not self.fittings.plugged(cable)

    def figures(self) -> dict[str, Any]:
        """Counted at the devices, so far."""
        ledger = self.ledger
        return {
            "presses": ledger.presses,
            "presses_unanswered": len(ledger.unanswered),
            "presses_excused": ledger.excused,
            "papers": len(ledger.papers),
            "calls": len(ledger.calls),
            "kills": {name: program.kills for name, program in self.programs.items()},
        }

    def count_events(self) -> tuple[int, int]:
        """How many events the journal and the centre's database have. Reads both files, so call
        it in a thread. Raises ``Unreadable`` while they are not there."""
        return records.progress(self.places.journal, self.places.centre_database, layout.HALL)

    def _watch(self) -> None:
        fittings, ledger = self.fittings, self.ledger

        def pressed(panel: Panel, key: str, at: float) -> None:
            ledger.pressed(panel.name, key, at)

        def switched(panel: Panel, lamp: str, lit: bool, at: float) -> None:
            ledger.lamp(panel.name, lamp, lit, at)

        for panel in fittings.panels.values():
            panel.on_press(pressed)
            panel.on_lamp(switched)
        for number, screen in fittings.screens.items():
            screen.on_update(
                lambda update, window=number: self.people.see_screen(  # type: ignore[misc]
                    window, ledger.screen(window, update.text, update.received_at)
                )
            )
        fittings.printer.on_change(self._note_printer)
        fittings.printer.on_paper(lambda paper: self.people.see_paper(ledger.paper(paper)))
        fittings.on_change(self._changed)
        self.relay.on_change(self._changed)
        for program in self.programs.values():
            program.on_change(self._changed)

    def _note_printer(self) -> None:
        printer = self.fittings.printer
        well = printer.powered and not printer.paper_out and self.fittings.plugged(PRINTER)
        self.printer_well.set(well, asyncio.get_running_loop().time())

    def _changed(self) -> None:
        for callback in self._observers:
            callback()

    async def _look(self) -> None:
        """Note who is plugged and served, settle presses, and let the clock be seen to move."""
        loop = asyncio.get_running_loop()
        before, hall_before = loop.time(), self.now()
        while True:
            now, hall_now = loop.time(), self.now()
            self.timeline.note(hall_now.timestamp(), now)
            if self._ordinary(hall_now):
                self.ordinary_seconds += now - before
                self.ordinary_hall_seconds += (hall_now - hall_before).total_seconds()
            before, hall_before = now, hall_now
            self.fittings.look(loop.time())
            for press in self.ledger.settle(loop.time()):
                self.say(f"nothing answered {press}, pressed at {press.at:.3f}")
            self._hurry_through_the_night()
            self._changed()
            await asyncio.sleep(LOOK_SECONDS)

    def _ordinary(self, now: datetime) -> bool:
        """Whether there is no reason why nothing should happen."""
        printer = self.fittings.printer
        return (
            self.people.automatic
            and DOORS_OPEN_AT <= now.time() < DOORS_CLOSE_AT
            and self.daemon.ready
            and printer.powered
            and not printer.paper_out
            and all(self.fittings.plugged(cable) for cable in self.fittings.cables)
        )

    def _hurry_through_the_night(self) -> None:
        """Nobody wants to watch an empty hall: its night takes seconds."""
        now = self.now().time()
        dark = now >= NIGHT_BEGINS_AT or now < NIGHT_ENDS_AT
        night = dark and self.people.automatic and not self.people.in_hall
        if night != self.night:
            self.night = night
            speed = NIGHT_SPEED if night else self.speed
            SharedScaledClock.set_speed(self.places.clock_file, speed)
            self.say("the night passes quickly" if night else "a new morning")

    def _excuse(self, station: str, begin: float, end: float) -> str | None:
        """Why a press from ``begin`` to ``end`` could not be expected to be answered."""
        panel = self.fittings.panels[station]
        if not self.daemon.readiness.throughout(begin, end):
            return "the daemon was not ready"
        if not panel.cable.throughout(begin, end):
            return "the cable was not plugged"
        healing_since = max(panel.cable.since or 0.0, self.daemon.readiness.since or 0.0)
        served = panel.service.throughout(begin, begin)
        if not served and begin - healing_since < HEALS_WITHIN_SECONDS:
            return "daemon and device were about to find each other"
        return None

    def blind_spans(self, window: int) -> list[tuple[float, float]]:
        """From when to when a call may have passed the window's screen by: from just before its
        cable came out until the daemon must have found it again."""
        breaks = self.screen_cables[window].breaks(-inf, inf)
        return [(out - EXCUSED_WITHIN_SECONDS, back + HEALS_WITHIN_SECONDS) for out, back in breaks]

    def printing_troubles(self) -> list[tuple[float, float]]:
        """From when to when a slip may have been lost on its way to paper: daemon or printer was
        down, or they had just found each other again. A first start has nothing to lose."""
        breaks = [*self.daemon.readiness.breaks(-inf, inf), *self.printer_well.breaks(-inf, inf)]
        return sorted((down, up + HEALS_WITHIN_SECONDS) for down, up in breaks if down > -inf)

    def _outages(self, begin: float, end: float) -> list[tuple[float, float]]:
        return self.daemon.readiness.breaks(begin, end)

    def _unplugged(self, station: str, begin: float, end: float) -> bool:
        return not self.fittings.panels[station].cable.throughout(begin, end)

    def _prints_again(self, promised_at: float, back_at: float) -> bool:
        """Whether a daemon that came back prints a slip for who was promised one before. It counts
        from the issue, which was a little sooner than the light that told of it."""
        issued = self.timeline.hall_time(promised_at - ISSUED_BEFORE_SECONDS)
        age = self.timeline.hall_time(back_at) - issued
        return age <= layout.reprint_within_seconds(self.options.speed)

    # --- acting -----------------------------------------------------------------------------------

    def perform(self, action: Mapping[str, Any]) -> None:
        """Do one thing, at once or as fast as hands are. Raises ``BadAction``.

        ``{"do": "press" | "hold" | "release", "at": PANEL, "key": KEY}``: ``at`` is ``dispenser``,
        ``caller-3``, ``evaluator-3``;
        ``{"do": "stuck_key", "at": PANEL, "key": KEY, "on": bool}``;
        ``{"do": "paper_out" | "paper_low" | "printer_off" | "broker_down", "on": bool}``;
        ``{"do": "unplug", "cable": NAME, "on": bool}``;
        ``{"do": "network_down", "minutes": number}``: hall minutes, 0 ends it;
        ``{"do": "kill", "program": "daemon" | "broker" | "centre"}``;
        ``{"do": "automatic", "on": bool}``: the virtual people;
        ``{"do": "speed", "value": 1 to 120}``.
        """
        if self._closing:
            raise BadAction("the demo is ending")
        name = action.get("do")
        known: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "press": self._press,
            "hold": self._hold,
            "release": self._release,
            "stuck_key": self._stuck_key,
            "paper_out": self._paper_out,
            "paper_low": self._paper_low,
            "printer_off": self._printer_off,
            "broker_down": self._broker_down,
            "unplug": self._unplug,
            "network_down": self._network_down,
            "kill": self._kill,
            "automatic": self._automatic,
            "speed": self._speed,
        }
        if not isinstance(name, str) or name not in known:
            raise BadAction(f"there is no action {name!r}; there are: {', '.join(known)}")
        known[name](action)
        self._changed()

    async def close_doors(self) -> None:
        """Everybody leaves, all faults end, and from now on nothing can be done here."""
        self._closing = True
        await self.people.stop()
        self._mend()

    def _mend(self) -> None:
        printer, faults = self.fittings.printer, self.faults()
        if self._network is not None or faults["network_down"]:
            self._network_down({"minutes": 0})
        if self.broker.held:
            self.broker.let_run()
        printer.power_on()
        if faults["paper_out"] or faults["paper_low"]:
            printer.refill_paper()
        for cable in self.fittings.cables:
            if not self.fittings.plugged(cable):
                self._plug(cable, True)
        for panel in self.fittings.panels.values():
            for key in panel.keys:
                panel.stick(key, False)

    def _press(self, action: Mapping[str, Any]) -> None:
        panel, key = self._key(action)
        task = in_background(panel.press(key), f"press of {key}")
        self._hands.add(task)
        task.add_done_callback(self._hands.discard)

    def _hold(self, action: Mapping[str, Any]) -> None:
        panel, key = self._key(action)
        panel.hold(key)

    def _release(self, action: Mapping[str, Any]) -> None:
        panel, key = self._key(action)
        panel.release(key)

    def _stuck_key(self, action: Mapping[str, Any]) -> None:
        panel, key = self._key(action)
        panel.stick(key, _on(action))
        self.say(f"{panel.name}: {key} {'is stuck' if _on(action) else 'is free again'}")

    def _paper_out(self, action: Mapping[str, Any]) -> None:
        if _on(action):
            self.fittings.printer.run_out_of_paper()
            self.say("the printer is out of paper (缺纸)")
        else:
            self.fittings.printer.refill_paper()
            self.say("a new roll of paper is in")

    def _paper_low(self, action: Mapping[str, Any]) -> None:
        self.fittings.printer.set_paper_low(_on(action))

    def _printer_off(self, action: Mapping[str, Any]) -> None:
        if _on(action):
            self.fittings.printer.power_off()
            self.say("the printer is off")
        else:
            self.fittings.printer.power_on()
            self.say("the printer is on")

    def _broker_down(self, action: Mapping[str, Any]) -> None:
        if _on(action):
            self.broker.hold_down()
            self.say("the broker is down")
        else:
            self.broker.let_run()
            self.say("the broker may run again")

    def _unplug(self, action: Mapping[str, Any]) -> None:
        cable = _text(action, "cable")
        if cable not in self.fittings.cables:
            raise BadAction(f"no cable {cable!r}; there are: {', '.join(self.fittings.cables)}")
        if cable == PRINTER and not self.fittings.printer.powered:
            raise BadAction("the printer is off: its cable leads nowhere")
        self._plug(cable, not _on(action))
        self.say(f"the cable of {cable} is {'out' if _on(action) else 'in again'}")

    def _plug(self, cable: str, plugged: bool) -> None:
        self.fittings.plug(cable, plugged)
        for number, window in self.fittings.windows.items():
            if window.screen == cable:
                self.screen_cables[number].set(plugged, asyncio.get_running_loop().time())

    def _network_down(self, action: Mapping[str, Any]) -> None:
        minutes = _number(action, "minutes", 0, 24 * 60)
        if self._network is not None:
            self._network.cancel()
            self._network = None
        if minutes == 0:
            self._network_up()
            return
        self.relay.set_mode(RelayMode.DOWN)
        self._network_back_at = self.now() + timedelta(minutes=minutes)
        self._network = in_background(self._network_comes_back(minutes), "network outage")
        self.say(f"the network is down for {minutes:g} min")

    async def _network_comes_back(self, minutes: float) -> None:
        await self.clock.sleep(minutes * 60)
        self._network_up()

    def _network_up(self) -> None:
        self._network_back_at = None
        if self.relay.mode is not RelayMode.UP:
            self.relay.set_mode(RelayMode.UP)
            self.say("the network is back")

    def _kill(self, action: Mapping[str, Any]) -> None:
        program = self.programs.get(_text(action, "program"))
        if program is None:
            raise BadAction(f"no such program; there are: {', '.join(self.programs)}")
        if program.kill9():
            self.say(f"kill -9 of the {program.name}")

    def _automatic(self, action: Mapping[str, Any]) -> None:
        self.people.set_automatic(_on(action))

    def _speed(self, action: Mapping[str, Any]) -> None:
        self.speed = _number(action, "value", MIN_SPEED, MAX_SPEED)
        self.people.speed = self.speed
        self.night = False
        SharedScaledClock.set_speed(self.places.clock_file, self.speed)

    def _key(self, action: Mapping[str, Any]) -> tuple[Panel, str]:
        panel = self.fittings.panels.get(_text(action, "at"))
        if panel is None:
            known = ", ".join(self.fittings.panels)
            raise BadAction(f"there are no keys at {action.get('at')!r}; there are at: {known}")
        key = _text(action, "key")
        if key not in panel.keys:
            raise BadAction(f"{panel.name} has no key {key!r}; it has: {', '.join(panel.keys)}")
        return panel, key


def _text(action: Mapping[str, Any], name: str) -> str:
    """A name; one that nothing has, where it is no text."""
    value = action.get(name)
    return value if isinstance(value, str) else ""


def _on(action: Mapping[str, Any]) -> bool:
    on = action.get("on")
    if not isinstance(on, bool):
        raise BadAction("'on' is true or false")
    return on


def _number(action: Mapping[str, Any], name: str, least: float, most: float) -> float:
    value = action.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadAction(f"{name!r} is a number from {least:g} to {most:g}")
    return float(value)


def _program(program: Program) -> dict[str, Any]:
    return {
        "ready": program.ready,
        "status": program.status,
        "pid": program.pid,
        "kills": program.kills,
        "held_down": program.held,
        "rss_mb": round(program.rss_bytes() / 1e6, 1),
        "failures": list(program.failures),
    }


def clean_environment() -> None:
    """What the shell may have set for other pins and another service manager is not for us."""
    for name in CLEAR_ENVIRONMENT:
        os.environ.pop(name, None)
