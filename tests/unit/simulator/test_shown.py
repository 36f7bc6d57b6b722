"""What the centre shows of a hall is held against the hall's journal."""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from cloud_sync.live import Live
from cloud_sync.reading import read_events
from cloud_sync.store.sqlite import SqliteStore
from contract.documents import HallLive
from contract.envelope import to_json
from contract.events import HallEvent
from simulator.records import Record
from simulator.truth import Evidence, judge, shown_otherwise
from tests.support.hall_day import EPOCH, HallDay
from tests.support.session import LocalSession
from tests.support.walks import histories

HALL = "hall-a"


def texts_of(events: Sequence[HallEvent]) -> list[str]:
    return [to_json(each, hall=HALL, epoch=EPOCH, seq=seq) for seq, each in enumerate(events, 1)]


def records(events: Sequence[HallEvent]) -> list[Record]:
    return [Record(EPOCH, seq, json.loads(t)) for seq, t in enumerate(texts_of(events), 1)]


async def shown(events: Sequence[HallEvent]) -> HallLive:
    """What a real centre publishes of it."""
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "centre.db")
        try:
            received = [
                event
                for text in texts_of(events)
                for event in read_events(f"halls/{HALL}/v1/events", text.encode()).events
            ]
            await store.commit(received, [], "2026-03-02T00:00:00+00:00")
            session = LocalSession()
            live = Live(
                store, stale_seconds=45, monotonic=lambda: 1.0, now=lambda: datetime.now(UTC)
            )
            live.on_commit([HALL])
            await live.publish_due(session)
            return HallLive.model_validate_json(session.published.get_nowait().payload)
        finally:
            await store.close()


@settings(max_examples=20, deadline=None)
@given(histories())
def test_whatever_happens_the_centre_shows_what_the_journal_says(events: list[HallEvent]) -> None:
    assert shown_otherwise(asyncio.run(shown(events)), records(events)) == []


DAY = HallDay(3).whole(40)[:-12]


@pytest.mark.parametrize(
    ("otherwise", "told"),
    [
        ({"events": 7}, "events: 7 for "),
        ({"behind": 2}, "behind: 2 for 0"),
        ({"business_day": "2026-03-03"}, "business day: 2026-03-03 for 2026-03-02"),
        ({"issued_today": 1}, "issued today: 1 for 39"),
        ({"finished_today": 1}, "finished today: 1 for "),
        ({"no_shows_today": 0}, "no-shows today: 0 for "),
        ({"services": ()}, "waiting: {} for {"),
        ({"windows": ()}, "windows: {} for {1: ("),
    ],
)
async def test_a_figure_that_the_centre_shows_and_the_journal_does_not_is_found(
    otherwise: dict[str, Any], told: str
) -> None:
    live = await shown(DAY)
    wrong = HallLive.model_validate(live.model_dump() | otherwise)
    (found,) = shown_otherwise(wrong, records(DAY))
    assert found.startswith(told)
    reasons = judge(Evidence(journal=records(DAY), live=wrong)).reasons
    assert f"1 figure of the centre's that is wrong: {found}" in reasons


async def test_a_rating_that_the_centre_counts_twice_is_found() -> None:
    live = await shown(DAY)
    ratings = {rating: 2 * count for rating, count in live.satisfaction.ratings.items()}
    wrong = live.model_copy(
        update={"satisfaction": live.satisfaction.model_copy(update={"ratings": ratings})}
    )
    (found,) = shown_otherwise(wrong, records(DAY))
    assert found.startswith("ratings: {")
