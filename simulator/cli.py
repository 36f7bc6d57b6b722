"""``nowserving``: the demo, on the command line."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import nan
from pathlib import Path
from typing import Any, TextIO

from simulator import layout
from simulator.broker import KINDS, NoBroker
from simulator.demo import DemoOptions, EndedEarly, run_demo
from simulator.hall import HallOptions, clean_environment
from simulator.layout import MAX_SPEED, MIN_SPEED
from simulator.ports import free_ports
from simulator.processes import ProgramFailed
from simulator.truth import Verdict

EXIT_OK = 0
EXIT_FAILED = 1
"""Something was lost, doubled or left unanswered, or the demo could not begin."""
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""Ended before it had begun; as shells do for Ctrl-C: 128 + SIGINT."""

PAGE_PORT = 8080
SPEED_WITH_PAGES = 10.0
SPEED_HEADLESS = 60.0
LINES_EVERY = 5
"""Where the terminal can't overwrite a line, every so many status lines are shown."""

DESCRIPTION = """\
A whole service hall (营业厅) on this machine: a broker, the centre, the edge daemon, and every
device as a virtual one at the far end of a real wire: the ticket dispenser (取号机) with its
printer, a call screen (窗口屏) above each window (窗口), each clerk's caller (呼叫器) and each
customer's evaluator (评价器). Virtual customers take numbers, virtual clerks (营业员) call them.
"""
EPILOG = """\
examples:
  nowserving demo                      open the pages it names, press things, break things
  nowserving demo --speed 60           an hour in a minute
  nowserving demo --headless --for 120 --speed 60 --seed 7 --json
                                       no pages; the last line of stdout is one JSON object
  nowserving demo --headless --for 120 --chaos
                                       and daemon, broker and centre die by kill -9 all the time

Exit code 0 only if no event was lost or doubled (漏号、重号), no ticket was called twice, every
press was answered by paper, screen, lamp or beep, whatever was accepted or shown is journaled, and
the hall worked: where there was time for it, tickets were issued, printed, called and served. With
--chaos for 30 s or more, each program must really have been killed twice at least.

Of the figures, `issued`, `voided`, `called`, `finished`, `no_show`, `rated` and `waiting` are
tickets by what the centre has of them; `printed` are tickets whose paper came out of the printer;
`presses` and times are from keys, lamps, screens and paper.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    return options.run(options)  # type: ignore[no-any-return]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nowserving",
        description="Now Serving: queue control for service halls.",
        epilog="Begin with: nowserving demo",
    )
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="run a virtual hall and its centre",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument("--headless", action="store_true", help="no pages, only the terminal")
    demo.add_argument(
        "--for",
        dest="seconds",
        type=_number(1, 7 * 86400),
        metavar="SECONDS",
        help="end after so much real time (default: at Ctrl-C)",
    )
    demo.add_argument(
        "--speed",
        type=_number(MIN_SPEED, MAX_SPEED),
        metavar="N",
        help=f"hall time runs N times as fast, {MIN_SPEED:g} to {MAX_SPEED:g} "
        f"(default: {SPEED_WITH_PAGES:g}, headless {SPEED_HEADLESS:g})",
    )
    demo.add_argument(
        "--seed",
        type=int,
        default=7,
        metavar="N",
        help="another seed, other people (default: 7)",
    )
    demo.add_argument(
        "--windows",
        type=_whole_number(1, layout.MAX_WINDOWS),
        default=6,
        metavar="N",
        help=f"windows (窗口), 1 to {layout.MAX_WINDOWS} (default: 6)",
    )
    demo.add_argument(
        "--json", action="store_true", help="print, last, what was counted as one JSON object"
    )
    demo.add_argument(
        "--chaos",
        action="store_true",
        help="kill -9 the daemon, the broker and the centre again and again, and pull cables",
    )
    demo.add_argument(
        "--port",
        type=_whole_number(1, 65534),
        metavar="PORT",
        help="of the virtual hall's page, on this machine only; the centre's is the next "
        f"(default: {PAGE_PORT} and {PAGE_PORT + 1}, or free ones where those are taken)",
    )
    demo.add_argument(
        "--broker",
        choices=KINDS,
        help="which MQTT broker (default: the first of these that is installed)",
    )
    demo.add_argument(
        "--keep",
        type=_empty_folder,
        metavar="DIR",
        help="an empty folder for journal, databases and logs; kept (default: a temporary one)",
    )
    demo.set_defaults(run=_demo)
    return parser


def _number(low: float, high: float) -> Callable[[str], float]:
    """Reads a number from ``low`` to ``high``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"must be a number from {low:g} to {high:g}, not {text!r}"
            )
        return value

    return read


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number from ``low`` to ``high``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {low} to {high}, not {text!r}"
            )
        return value

    return read


def _empty_folder(text: str) -> Path:
    """A folder that is empty, or is not there and can be made."""
    folder = Path(text)
    try:
        files = folder.exists() and any(folder.iterdir())
        nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    except NotADirectoryError:
        raise argparse.ArgumentTypeError(f"{folder} is a file: name a folder") from None
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{folder}: {error.strerror}: name another") from None
    if files:
        raise argparse.ArgumentTypeError(f"{folder} is not empty: name a new folder")
    if not nearest.is_dir():
        raise argparse.ArgumentTypeError(f"{nearest} is a file: name a folder")
    return folder


class Terminal:
    """Where progress is told: stderr with ``--json``, so that stdout's last line is the JSON.

    A terminal that vanishes is no reason to stop telling: nobody listens, that is all.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._overwrites = stream.isatty()
        self._status_shown = False
        self._lines = 0

    def tell(self, text: str) -> None:
        """A line that stays."""
        self._write(f"{self._cleared()}{text}\n")

    def status(self, text: str) -> None:
        """How it goes; overwritten by the next, where the terminal can."""
        if self._overwrites:
            self._write(f"{self._cleared()}{text}")
            self._status_shown = True
            return
        if self._lines % LINES_EVERY == 0:
            self._write(f"{text}\n")
        self._lines += 1

    def _cleared(self) -> str:
        shown, self._status_shown = self._status_shown, False
        return "\r\x1b[K" if shown else ""

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def _demo(options: argparse.Namespace) -> int:
    terminal = Terminal(sys.stderr if options.json else sys.stdout)
    if options.port is not None and not options.headless:
        for port, whose in ((options.port, "the virtual hall"), (options.port + 1, "the centre")):
            if free_ports(port) != [port]:
                print(
                    f"nowserving: port {port}, for the page of {whose}, is taken: choose others "
                    "with --port (two in a row are needed), or leave --port out",
                    file=sys.stderr,
                )
                return EXIT_FAILED
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    clean_environment()
    default_speed = SPEED_HEADLESS if options.headless else SPEED_WITH_PAGES
    demo = DemoOptions(
        hall=HallOptions(
            windows=options.windows,
            speed=options.speed or default_speed,
            seed=options.seed,
            broker=options.broker,
            centre_port=0 if options.headless else (options.port or PAGE_PORT) + 1,
            directory=options.keep,
        ),
        seconds=options.seconds,
        pages=not options.headless,
        port=options.port or free_ports(PAGE_PORT)[0],
        chaos=options.chaos,
    )
    try:
        verdict = asyncio.run(_run(demo, terminal))
    except (ProgramFailed, NoBroker) as error:
        terminal.tell(f"nowserving: {error}")
        return EXIT_FAILED
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        terminal.tell(f"nowserving: {what}")
        return EXIT_FAILED
    except (EndedEarly, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    _show(verdict, terminal)
    if options.json:
        print(json.dumps(verdict.figures), flush=True)
    return EXIT_FAILED if verdict.reasons else EXIT_OK


async def _run(options: DemoOptions, terminal: Terminal) -> Verdict:
    stop, hurry = asyncio.Event(), asyncio.Event()

    def told() -> None:
        if stop.is_set():
            hurry.set()
        else:
            terminal.tell("ending: letting the hall come to rest; once more to end at once")
            stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told)
    return await run_demo(options, stop, hurry, terminal.tell, terminal.status)


def _show(verdict: Verdict, terminal: Terminal) -> None:
    terminal.tell(summary(verdict.figures))
    if verdict.reasons:
        terminal.tell("WRONG:")
        for reason in verdict.reasons:
            terminal.tell(f"  {reason}")
    else:
        terminal.tell("nothing lost, nothing doubled, nothing unanswered")


def summary(figures: Mapping[str, Any]) -> str:
    """A run's figures in one line; what waits here are tickets, whoever has them."""
    return (
        f"{figures['presses']} presses, {figures['presses_unanswered']} unanswered; "
        f"{figures['issued']} tickets, {figures['called']} called, {figures['finished']} served, "
        f"{figures['no_show']} no-shows, {figures['rated']} rated, "
        f"{figures['waiting']} tickets waiting; "
        f"{figures['events_journaled']} events journaled, {figures['events_at_centre']} at the "
        "centre"
    )


if __name__ == "__main__":
    sys.exit(main())
