"""``nowserving-sync``: the centre on the command line."""

import argparse
import asyncio
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cloud_sync import __version__
from cloud_sync.config import EXAMPLE, ConfigInvalid, SyncConfig, load
from cloud_sync.service import run
from cloud_sync.store.errors import StoreError, explained
from cloud_sync.store.sqlite import SqliteStore, newest_dead_letters
from cloud_sync.web import CannotListen

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""sysexits.h: EX_CONFIG. The unit does not restart on it."""

DEFAULT_CONFIG = Path("/etc/nowserving/sync.toml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        config = load(options.config, files=options.connects)
    except ConfigInvalid as invalid:
        print(invalid, file=sys.stderr)
        print("\nA file that is right:\n\n" + EXAMPLE, file=sys.stderr)
        return EXIT_CONFIG
    try:
        code: int = options.command(config, options)
        sys.stdout.flush()
    except BrokenPipeError:  # "| head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except sqlite3.Error as error:
        print(f"nowserving-sync: {explained(error, config.store.path)}", file=sys.stderr)
        return EXIT_FAILED
    except (StoreError, CannotListen, OSError) as error:
        print(f"nowserving-sync: {error}", file=sys.stderr)
        return EXIT_FAILED
    except ExceptionGroup as group:
        logging.critical("a part of the centre failed, so all of it stops", exc_info=group)
        return EXIT_FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nowserving-sync",
        description="The centre of Now Serving: takes in the events of all halls over MQTT, keeps "
        "them, acknowledges them, and shows what they mean.",
        epilog="Begin with a file like this:\n\n" + EXAMPLE + "\nthen: nowserving-sync check "
        "--config sync.toml\n\nExit codes: 0 well, 1 failed, 2 wrong usage, 78 bad configuration.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="how much is said on stderr (default: info)",
    )
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command, connects, text in (
        ("run", _run, True, "run the centre until SIGTERM or Ctrl-C"),
        ("check", _check, True, "check a configuration; name every problem at once"),
        (
            "rebuild",
            _rebuild,
            False,
            "derive everything anew from the raw events (stop the service first)",
        ),
        (
            "dead-letters",
            _dead_letters,
            False,
            "print what halls sent and has no place, and why; also while the service runs",
        ),
    ):
        each = commands.add_parser(name, help=text, description=text)
        each.add_argument(
            "--config",
            type=Path,
            default=DEFAULT_CONFIG,
            metavar="FILE",
            help=f"the centre's TOML file (default: {DEFAULT_CONFIG})",
        )
        each.set_defaults(command=command, connects=connects)
    dead = commands.choices["dead-letters"]
    dead.formatter_class = argparse.RawDescriptionHelpFormatter
    dead.epilog = (
        "Each has two lines, the newest last: when it came, its topic and the reason, and how it\n"
        "begins. They are kept to be looked at; nothing is made of them.\n\n"
        "  not a CloudEvent, not JSON …  something else than a hall's controller sends there\n"
        "  another event is kept as …    the hall's journal was an old copy and was worked on;\n"
        "                                the event that came first stays, this one is kept here\n\n"
        "Example: nowserving-sync dead-letters --hall riverside --last 5"
    )
    dead.add_argument("--hall", metavar="HALL", help="of this hall only (default: of all)")
    dead.add_argument(
        "--last", type=_count, default=20, metavar="N", help="how many messages (default: 20)"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def _run(config: SyncConfig, _: argparse.Namespace) -> int:
    asyncio.run(_run_until_told_to_stop(config))
    return EXIT_OK


async def _run_until_told_to_stop(config: SyncConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(config, stop)


def _check(config: SyncConfig, _: argparse.Namespace) -> int:
    print(
        f"good: broker {config.mqtt.host}:{config.mqtt.port}, database {config.store.path}, "
        f"page http://{config.page.host}:{config.page.port}/"
    )
    return EXIT_OK


def _rebuild(config: SyncConfig, _: argparse.Namespace) -> int:
    async def rebuild() -> int:
        store = await SqliteStore.open(config.store.path)
        try:
            return await store.rebuild()
        finally:
            await store.close()

    count = asyncio.run(rebuild())
    print(f"rebuilt from {count} {'event' if count == 1 else 'events'}")
    return EXIT_OK


_SHOWN_BYTES = 200
"""Of a payload, to see what it is; the database keeps more."""


def _dead_letters(config: SyncConfig, options: argparse.Namespace) -> int:
    letters = newest_dead_letters(config.store.path, options.last, options.hall)
    for received_at, topic, reason, payload in letters:
        when = datetime.fromisoformat(received_at).astimezone().isoformat(timespec="seconds")
        print(f"{when}  {_plain(topic)}: {_plain(reason)}")
        print(f"    {payload[:_SHOWN_BYTES]!r}{' …' if len(payload) > _SHOWN_BYTES else ''}")
    return EXIT_OK


def _plain(text: str) -> str:
    """Strangers wrote it: nothing of it may command the terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


if __name__ == "__main__":
    sys.exit(main())
