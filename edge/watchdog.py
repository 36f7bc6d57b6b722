"""Feeds systemd's watchdog, but only while the queue and the journal answer."""

import logging
from collections.abc import Awaitable, Callable

from contract.commands import Refusal, RefusalReason
from edge.controller import Controller, Outcome
from edge.journal.errors import JournalError
from messaging import service_notify

log = logging.getLogger(__name__)


async def feed_watchdog(
    controller: Controller, check_journal: Callable[[], Awaitable[None]]
) -> None:
    """Run until cancelled; returns at once where nobody watches.

    A question goes through the writer's own queue and then one to the database: an event loop that
    turns without working is not fed.
    """

    async def answers() -> bool:
        try:
            outcome = await controller.record()
            await check_journal()
        except JournalError as error:
            log.critical("the journal does not answer as it should: %s", error)
            return False
        if not _the_writer_answered(outcome):
            log.critical("the queue does not take the watchdog's question: %s", outcome)
            return False
        return True

    await service_notify.feed_watchdog(answers, "queue or journal have")


def _the_writer_answered(outcome: Outcome) -> bool:
    """A full queue and a hall that stops refuse without asking the writer. A journal that can't be
    written for now is an answer of its own: it is said at the windows, and heals by itself, while a
    restart would leave the hall dark."""
    if isinstance(outcome, Refusal):
        return outcome.reason is RefusalReason.JOURNAL_UNAVAILABLE
    return True
