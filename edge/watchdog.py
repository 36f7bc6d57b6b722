"""Feeds systemd's watchdog, but only while the queue and the journal answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from contract.commands import Refusal, RefusalReason
from edge.controller import Controller, Outcome
from edge.journal.errors import JournalError
from messaging.service_notify import notify, watchdog_seconds

log = logging.getLogger(__name__)


async def feed_watchdog(
    controller: Controller, check_journal: Callable[[], Awaitable[None]]
) -> None:
    """Run until cancelled; returns at once where nobody watches.

    A question goes through the writer's own queue and then one to the database, both within a
    third of the watchdog's time: an event loop that turns without working is not fed.
    """
    limit = watchdog_seconds()
    if limit is None:
        return
    while True:
        try:
            async with asyncio.timeout(limit / 3):
                outcome = await controller.record()
                await check_journal()
        except TimeoutError:
            log.critical("queue or journal have not answered within %.1f s", limit / 3)
        except JournalError as error:
            log.critical("the journal does not answer as it should: %s", error)
        else:
            if _the_writer_answered(outcome):
                notify("WATCHDOG=1")
            else:
                log.critical("the queue does not take the watchdog's question: %s", outcome)
        await asyncio.sleep(limit / 3)


def _the_writer_answered(outcome: Outcome) -> bool:
    """A full queue and a hall that stops refuse without asking the writer. A journal that can't be
    written for now is an answer of its own: it is said at the windows, and heals by itself, while a
    restart would leave the hall dark."""
    if isinstance(outcome, Refusal):
        return outcome.reason is RefusalReason.JOURNAL_UNAVAILABLE
    return True
