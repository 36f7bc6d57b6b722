"""Commands from the centre: taken once, while they are good, and refused by name otherwise."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.commands import (
    CallNext,
    CentralCommand,
    CentralReply,
    Command,
    ConfirmPrint,
    OpenDay,
    Refusal,
    RefusalReason,
)
from contract.events import HallEvent
from edge.central import CLOCKS_MAY_DIFFER, MAX_REMEMBERED, CentralCommands
from edge.clock import ManualClock
from tests.support.hall_events import DAY, START, called, ulid

JUST_STARTED_SECONDS = CLOCKS_MAY_DIFFER.total_seconds() + 1
"""After a start, no command is taken for so long."""


class Hall:
    """Calls the next ticket at window 3, refuses everything else; remembers what it was asked."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock(START)
        self.asked: list[Command] = []
        self.central = CentralCommands(self.submit, self.clock)
        if clock is None:
            self.clock.advance(JUST_STARTED_SECONDS)
        self.answers = asyncio.Event()
        self.answers.set()

    async def submit(self, command: Command) -> Sequence[HallEvent] | Refusal:
        self.asked.append(command)
        await self.answers.wait()
        if isinstance(command, CallNext):
            return (called(7, command.window),)
        return Refusal(reason=RefusalReason.DAY_ALREADY_OPEN, command=command.command)

    def command(
        self,
        number: int = 1,
        good_for: float = 60.0,
        age: float = 0.0,
        body: Command | None = None,
    ) -> CentralCommand:
        issued = self.clock.now().wall - timedelta(seconds=age)
        return CentralCommand(
            id=ulid(number),
            issued_at=issued,
            expires_at=issued + timedelta(seconds=good_for),
            body=body or CallNext(window=3),
        )

    async def send(self, command: CentralCommand, *, retained: bool = False) -> CentralReply:
        reply = await self.central.answer(
            command.id, command.model_dump_json().encode(), retained=retained
        )
        assert reply is not None
        assert reply.id == command.id
        return reply

    async def refusal(self, command: CentralCommand, *, retained: bool = False) -> Refusal:
        reply = await self.send(command, retained=retained)
        assert not reply.accepted
        assert reply.refusal is not None
        return reply.refusal


@pytest.fixture
def hall() -> Hall:
    return Hall()


async def test_a_good_command_is_done_and_answered_with_what_happened(hall: Hall) -> None:
    reply = await hall.send(hall.command())
    assert reply.accepted
    assert reply.event_types == ("hall.ticket.called.v1",)
    assert hall.asked == [CallNext(window=3)]


async def test_the_halls_own_refusal_is_handed_on(hall: Hall) -> None:
    command = hall.command().model_copy(update={"body": OpenDay(business_day=DAY)})
    refusal = await hall.refusal(command)
    assert (refusal.reason, refusal.command) == (RefusalReason.DAY_ALREADY_OPEN, "open_day")


async def test_an_id_is_taken_once(hall: Hall) -> None:
    await hall.send(hall.command(1))
    hall.clock.advance(1)
    refusal = await hall.refusal(hall.command(1))
    assert refusal.reason is RefusalReason.REPLAYED
    assert len(hall.asked) == 1


async def test_who_lost_the_reply_and_asks_again_is_told_what_the_command_led_to(
    hall: Hall,
) -> None:
    await hall.send(hall.command(1))
    again = await hall.send(hall.command(1))
    assert (again.accepted, again.event_types) == (False, ("hall.ticket.called.v1",))
    refused = hall.command(2, body=OpenDay(business_day=DAY))
    await hall.send(refused)
    assert "day_already_open" in (await hall.refusal(refused)).detail


async def test_what_a_command_led_to_is_known_also_when_the_connection_was_lost_meanwhile(
    hall: Hall,
) -> None:
    hall.answers.clear()
    asking = asyncio.create_task(hall.send(hall.command(1)))
    while not hall.asked:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert "being done" in (await hall.refusal(hall.command(1))).detail
    hall.answers.set()
    async with asyncio.timeout(10):
        while "being done" in (await hall.refusal(hall.command(1))).detail:
            await asyncio.sleep(0)
    again = await hall.send(hall.command(1))
    assert again.event_types == ("hall.ticket.called.v1",)
    assert len(hall.asked) == 1


async def test_a_command_that_is_late_is_refused(hall: Hall) -> None:
    command = hall.command(good_for=30)
    hall.clock.advance(30)
    assert (await hall.refusal(command)).reason is RefusalReason.EXPIRED
    assert hall.asked == []


async def test_a_command_of_before_the_start_is_refused_as_nobody_knows_if_it_was_taken(
    hall: Hall,
) -> None:
    age = JUST_STARTED_SECONDS + 5
    assert "before this controller started" in (await hall.refusal(hall.command(age=age))).detail


async def test_no_command_is_done_twice_over_a_restart_though_the_centres_clock_is_ahead(
    hall: Hall,
) -> None:
    ahead = hall.command(age=-CLOCKS_MAY_DIFFER.total_seconds(), good_for=600)
    assert (await hall.send(ahead)).accepted
    for seconds in (0, 10, 20, 60, 200):
        hall.clock.advance(seconds)
        again = Hall(hall.clock)
        for wait in (0, CLOCKS_MAY_DIFFER.total_seconds()):
            hall.clock.advance(wait)
            assert (await again.refusal(ahead)).reason is RefusalReason.EXPIRED
        assert again.asked == []


async def test_the_time_of_the_start_follows_a_clock_that_is_set_right(hall: Hall) -> None:
    hall.clock.advance(10)
    hall.clock.step_wall(40 * 365 * 86400)  # it booted in the past, and NTP has come
    assert (await hall.send(hall.command(age=5))).accepted


async def test_a_hall_without_the_right_time_takes_no_commands(hall: Hall) -> None:
    hall.clock.synced = False
    assert "clock is not set" in (await hall.refusal(hall.command())).detail


async def test_the_centre_cannot_speak_for_the_printer(hall: Hall) -> None:
    printed = hall.command(body=ConfirmPrint(ticket=ulid(7)))
    assert (await hall.refusal(printed)).reason is RefusalReason.NOT_FOR_CENTRAL


async def test_a_retained_command_is_refused(hall: Hall) -> None:
    assert (await hall.refusal(hall.command(), retained=True)).reason is RefusalReason.REPLAYED


@pytest.mark.parametrize(
    ("good_for", "age", "says"),
    [(3601.0, 0.0, "good for longer"), (60.0, -31.0, "issued in the future")],
)
async def test_times_that_make_no_sense_are_malformed(
    hall: Hall, good_for: float, age: float, says: str
) -> None:
    refusal = await hall.refusal(hall.command(good_for=good_for, age=age))
    assert refusal.reason is RefusalReason.MALFORMED
    assert says in refusal.detail


async def test_an_id_that_is_not_the_topics_is_malformed(hall: Hall) -> None:
    payload = hall.command(1).model_dump_json().encode()
    reply = await hall.central.answer(ulid(2), payload, retained=False)
    assert reply is not None
    assert reply.refusal is not None
    assert reply.refusal.reason is RefusalReason.MALFORMED


async def test_a_topic_that_is_no_id_gets_no_answer_but_is_counted(hall: Hall) -> None:
    payload = hall.command(1).model_dump_json().encode()
    assert await hall.central.answer("../../etc", payload, retained=False) is None
    assert hall.central.refused == 1


async def test_a_command_that_is_too_long_is_not_even_parsed(hall: Hall) -> None:
    payload = hall.command(1).model_dump_json().encode() + b" " * 20_000
    reply = await hall.central.answer(ulid(1), payload, retained=False)
    assert reply is not None
    assert reply.refusal is not None
    assert "longer than 16384 bytes" in reply.refusal.detail


@given(payload=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
async def test_garbage_is_malformed_and_never_done(payload: bytes) -> None:
    hall = Hall()
    reply = await hall.central.answer(ulid(1), payload, retained=False)
    assert reply is not None
    assert reply.refusal is not None
    assert reply.refusal.reason is RefusalReason.MALFORMED
    assert hall.asked == []


async def test_what_is_remembered_is_bounded_and_expired_ids_make_room(hall: Hall) -> None:
    for number in range(MAX_REMEMBERED):
        await hall.send(hall.command(number))
    refusal = await hall.refusal(hall.command(MAX_REMEMBERED))
    assert refusal.reason is RefusalReason.OVERLOADED
    assert "too many" in refusal.detail
    hall.clock.advance(61)
    assert (await hall.send(hall.command(MAX_REMEMBERED))).accepted
    assert (hall.central.accepted, hall.central.refused) == (MAX_REMEMBERED + 1, 1)


@pytest.mark.parametrize(
    ("payload", "begins"), [(b"nope", "Invalid JSON"), (b"{}", "id: Field required")]
)
async def test_what_is_wrong_with_a_command_is_said_with_its_place_where_it_has_one(
    hall: Hall, payload: bytes, begins: str
) -> None:
    reply = await hall.central.answer(ulid(1), payload, retained=False)
    assert reply is not None
    assert reply.refusal is not None
    assert reply.refusal.detail.startswith(begins)
