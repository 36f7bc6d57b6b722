"""``nowserving-edge``: the controller of one hall, on the command line."""

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from edge import __version__
from edge.bootstrap import CannotStart, run_hall
from edge.clock import Clock, SharedScaledClock, SystemClock
from edge.config import ConfigInvalid, HallConfig, load, warnings
from edge.journal.database import check_all, newest, newest_dead_letters
from edge.journal.errors import JournalError
from edge.journal.salvage import salvage
from edge.ulid import new_ulid
from edge.words import counted, plain

log = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""sysexits.h: EX_CONFIG. The unit does not restart on it: starting again won't mend a file."""

DEFAULT_CONFIG = Path("/etc/nowserving/hall.toml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # "| head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return code


def _count(text: str) -> int:
    """Of events: what SQLite can count."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nowserving-edge",
        description="The controller of one service hall (营业厅): ticket dispenser, call screens,\n"
        "callers, evaluators, queue, and the way to the centre.",
        epilog="Begin with: nowserving-edge check --config hall.toml\n\n"
        "Exit codes: 0 well, 1 failed, 2 wrong usage, 78 bad configuration.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_no_command(parser))
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="how much is said on stderr (default: info)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run the hall until SIGTERM or Ctrl-C",
        description="Run the hall until SIGTERM or Ctrl-C. What is wrong with the configuration is "
        "named before anything starts; devices and the centre may come and go.",
        epilog="Example: nowserving-edge run --config hall.toml",
    )
    _add_config(run)
    run.add_argument(
        "--clock-file",
        type=Path,
        metavar="FILE",
        help="for demos: hall time from a shared clock that may run faster than time",
    )
    run.set_defaults(run=_run)

    check = commands.add_parser(
        "check",
        help="check a configuration; name every problem at once",
        description="Read a hall's file and name everything that is wrong with it, each with what "
        "would be right. Opens no device, starts nothing, and may run beside a hall that works.",
        epilog="Example: nowserving-edge check --config hall.toml",
    )
    _add_config(check)
    check.set_defaults(run=_check)

    journal = commands.add_parser("journal", help="look at a journal, or rescue a damaged one")
    journal.set_defaults(run=_no_command(journal))
    actions = journal.add_subparsers(title="actions", metavar="ACTION")
    show = actions.add_parser("show", help="print the newest events, one a line")
    show.add_argument("path", type=Path, metavar="PATH", help="the journal's database file")
    show.add_argument(
        "--last", type=_count, default=20, metavar="N", help="how many events (default: 20)"
    )
    show.set_defaults(run=_journal_show)
    dead = actions.add_parser(
        "dead-letters", help="print what came from the broker and could not be taken, and why"
    )
    dead.add_argument("path", type=Path, metavar="PATH", help="the journal's database file")
    dead.add_argument(
        "--last", type=_count, default=20, metavar="N", help="how many messages (default: 20)"
    )
    dead.set_defaults(run=_journal_dead_letters)
    whole = actions.add_parser("check", help="read all of it and say whether it is sound")
    whole.add_argument("path", type=Path, metavar="PATH", help="the journal's database file")
    whole.set_defaults(run=_journal_check)
    salvage = actions.add_parser(
        "salvage", help="copy what is readable of a damaged journal into a new one"
    )
    salvage.add_argument("path", type=Path, metavar="PATH", help="the damaged file; it is kept")
    salvage.add_argument(
        "target", type=Path, metavar="NEW", nargs="?", help="the new file (default: PATH.salvaged)"
    )
    salvage.add_argument(
        "--acked",
        type=int,
        metavar="SEQ",
        help="up to where the centre has everything, if the damaged file can't tell any more",
    )
    salvage.set_defaults(run=_journal_salvage)
    return parser


def _no_command(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Whoever gives no command wants to know which there are."""

    def show_help(_: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return EXIT_USAGE

    return show_help


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help=f"the hall's TOML file (default: {DEFAULT_CONFIG})",
    )


def _run(options: argparse.Namespace) -> int:
    try:
        config = load(options.config)
    except ConfigInvalid as invalid:
        print(invalid, file=sys.stderr)
        return EXIT_FAILED if invalid.may_pass else EXIT_CONFIG
    for warning in warnings(config):
        log.warning("%s", warning)
    spare_the_collector()
    try:
        clock: Clock = (
            SharedScaledClock(options.clock_file) if options.clock_file else SystemClock()
        )
    except (OSError, ValueError) as error:
        print(f"nowserving-edge: --clock-file: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        asyncio.run(_until_told_to_stop(config, clock))
    except (JournalError, CannotStart) as error:
        print(f"nowserving-edge: {error}", file=sys.stderr)
        return EXIT_FAILED
    except ExceptionGroup as group:
        log.critical("a part of the hall failed, so all of it stops", exc_info=group)
        return EXIT_FAILED
    return EXIT_OK


def spare_the_collector() -> None:
    """All that is there by now stays for ever. A full collection that looks through it holds the
    event loop for 45 ms (on a server; longer on a Pi), and a press with it; without, for 2 ms."""
    gc.collect()
    gc.freeze()


async def _until_told_to_stop(config: HallConfig, clock: Clock) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run_hall(config, clock, stop)


def _check(options: argparse.Namespace) -> int:
    try:
        config = load(options.config)
    except ConfigInvalid as invalid:
        print(invalid, file=sys.stderr)
        return EXIT_CONFIG
    for warning in warnings(config):
        print(f"  worth a look: {warning}")
    print(
        f"{options.config}: good. {counted(len(config.windows), 'window')}, "
        f"{counted(len(config.services), 'service')}, {counted(len(config.devices), 'device')}"
    )
    return EXIT_OK


def _journal_show(options: argparse.Namespace) -> int:
    try:
        rows = newest(options.path, options.last)
    except JournalError as error:
        print(f"nowserving-edge: {error}", file=sys.stderr)
        return EXIT_FAILED
    for position, body in rows:
        event = json.loads(body)
        data = event["data"]
        about = [f"{key}={plain(data[key])}" for key in _TELLING if data.get(key) is not None]
        when = _local_time(event["time"])
        print(f"{position:>8}  {when}  {event['type']:<32}  {' '.join(about)}")
    return EXIT_OK


def _local_time(text: str) -> str:
    """As this machine's people read it, with its zone."""
    return datetime.fromisoformat(text).astimezone().isoformat(timespec="seconds")


_TELLING = ("number", "window", "clerk", "service", "rating", "device", "status", "reason")
"""Fields of events that tell a person most."""


def _journal_dead_letters(options: argparse.Namespace) -> int:
    try:
        letters = newest_dead_letters(options.path, options.last)
    except JournalError as error:
        print(f"nowserving-edge: {error}", file=sys.stderr)
        return EXIT_FAILED
    for received_at, topic, reason, payload in letters:
        print(f"{_local_time(received_at)}  {topic}: {reason}")
        print(f"    {payload[:_SHOWN_BYTES]!r}{' …' if len(payload) > _SHOWN_BYTES else ''}")
    return EXIT_OK


_SHOWN_BYTES = 200
"""Of a payload, to see what it is; the journal keeps more."""


def _journal_check(options: argparse.Namespace) -> int:
    try:
        problems = check_all(options.path)
    except JournalError as error:
        print(f"nowserving-edge: {error}", file=sys.stderr)
        return EXIT_FAILED
    if problems:
        print(f"{options.path} is not sound:", file=sys.stderr)
        for problem in problems:
            print(f"  {problem}", file=sys.stderr)
        print(
            f"Keep it, and run: nowserving-edge journal salvage {options.path}",
            file=sys.stderr,
        )
        return EXIT_FAILED
    print(f"{options.path}: sound")
    return EXIT_OK


def _journal_salvage(options: argparse.Namespace) -> int:
    target = options.target or options.path.with_name(options.path.name + ".salvaged")
    try:
        result = salvage(options.path, target, new_epoch=new_ulid, acked=options.acked)
    except JournalError as error:
        print(f"nowserving-edge: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(result)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
