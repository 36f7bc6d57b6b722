"""A journal against a model of it: a list."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contract.envelope import to_json
from contract.events import HallEvent
from edge.journal import Journal, Snapshot
from edge.journal.database import check_all
from tests.support.hall_events import HALL, device, epochs

T = TypeVar("T")
TEXT = st.text(max_size=30)


class JournalModel(RuleBasedStateMachine):
    """Appends, snapshots, acks, new epochs and restarts, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.db"
        self.new_epoch = epochs()
        self.events: list[HallEvent] = []
        self.base = 0
        self.acked = 0
        self.snapshots: dict[int, str] = {}
        self.journal = self.run(Journal.open(self.path, hall=HALL, new_epoch=self.new_epoch))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @rule(texts=st.lists(TEXT, max_size=6))
    def append(self, texts: list[str]) -> None:
        group = [device(text) for text in texts]
        self.events += group
        assert self.run(self.journal.append(group)) == len(self.events)

    @precondition(lambda self: self.events)
    @rule(data=st.data(), state=TEXT)
    def snapshot(self, data: st.DataObject, state: str) -> None:
        position = data.draw(st.integers(1, len(self.events)))
        self.run(self.journal.save_snapshot(position, state))
        self.snapshots[position] = state
        for oldest in sorted(self.snapshots)[:-2]:
            del self.snapshots[oldest]

    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        seq = data.draw(st.integers(0, len(self.events) - self.base))
        self.run(self.journal.save_acked(seq))
        self.acked = max(self.acked, self.base + seq)

    @rule()
    def begin_a_new_epoch(self) -> None:
        before = self.journal.epoch
        assert self.run(self.journal.start_new_epoch()) == self.journal.epoch != before
        self.base = self.acked

    @rule()
    def restart(self) -> None:
        epoch = self.journal.epoch
        self.run(self.journal.close())
        assert check_all(self.path) == []
        self.journal = self.run(Journal.open(self.path, hall=HALL, new_epoch=self.new_epoch))
        assert self.journal.epoch == epoch

    @rule(data=st.data(), limit=st.integers(1, 10))
    def read(self, data: st.DataObject, limit: int) -> None:
        after = data.draw(st.integers(0, len(self.events) - self.base))
        place = self.base + after
        assert self.run(self.journal.read(after, limit)) == [
            (after + n, to_json(event, hall=HALL, epoch=self.journal.epoch, seq=after + n))
            for n, event in enumerate(self.events[place : place + limit], start=1)
        ]

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(self.events)))
        journal = self.journal

        async def collect() -> list[tuple[int, HallEvent]]:
            return [pair async for pair in journal.events_since(position)]

        expected = list(enumerate(self.events[position:], start=position + 1))
        assert self.run(collect()) == expected

    @rule()
    def load(self) -> None:
        newest = max(self.snapshots, default=None)
        expected = None if newest is None else Snapshot(newest, self.snapshots[newest])
        assert self.run(self.journal.load_snapshot()) == expected

    @invariant()
    def it_says_where_it_is(self) -> None:
        assert self.journal.position == len(self.events)
        assert self.journal.head == len(self.events) - self.base
        assert self.journal.acked == self.acked - self.base

    def teardown(self) -> None:
        self.run(self.journal.close())
        self.runner.close()
        self.folder.cleanup()


TestJournalModel = JournalModel.TestCase
TestJournalModel.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
