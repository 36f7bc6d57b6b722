"""The printer driver against a virtual printer on a real pty and on TCP.

The virtual printer is the demo's: it holds a ticket when the paper runs out, answers DLE commands
at once and everything else in order. ``Scripted`` is a printer that answers only as told, for what
a sound one never does.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from contract.names import DeviceStatus, Language, VoidReason
from edge.drivers import escpos_printer
from edge.drivers.escpos import BARRIER, CLEAR_BUFFERS, INITIALISE
from edge.drivers.escpos_printer import EscposConfig, EscposPrinter
from edge.drivers.health import OncePerChange
from edge.drivers.roles import Printed, PrintOutcome, Slip
from edge.drivers.supervisor import Supervisor
from simulator.devices.endpoint import Endpoint, PtyEndpoint, TcpEndpoint
from simulator.devices.paper import Paper
from simulator.devices.printer import VirtualPrinter
from tests.integration.drivers.far_end import TIMEOUT, Plug, Statuses, until

SLIP = Slip(
    ticket_id="01JZZZZZZZZZZZZZZZZZZZZZZZ",
    number="A012",
    hall_name={Language.ZH: "城东营业厅", Language.EN: "East Hall"},
    service_name={Language.ZH: "缴费", Language.EN: "Payment"},
    issued_at=datetime(2026, 3, 5, 10, 42, tzinfo=ZoneInfo("Asia/Shanghai")),
    ahead=3,
    wait_minutes=(12, 20),
    languages=(Language.ZH, Language.EN),
    qr="https://hall.example/t/01JZZZZZZZZZZZZZZZZZZZZZZZ",
)
OK = PrintOutcome(Printed.PRINTED)
UNCONFIRMED = PrintOutcome(Printed.FAILED, VoidReason.UNCONFIRMED)
PAPER_OUT = bytes.fromhex("1a32127e")
LONG = 60.0


@asynccontextmanager
async def served(url: str, **options: Any) -> AsyncIterator[tuple[EscposPrinter, Statuses]]:
    """A printer driver under its supervisor, without back-off."""
    statuses = Statuses()
    once = OncePerChange(statuses)
    options = {"driver": "escpos", "role": "printer", "poll_seconds": 0.2} | options
    config = EscposConfig.model_validate({"port": url} | options)
    printer = EscposPrinter("printer", config, once)
    supervisor = Supervisor(printer, once, sleep=lambda _: asyncio.sleep(0.02))
    task = asyncio.create_task(supervisor.run())
    try:
        yield printer, statuses
        assert supervisor.counters().get("crashed", 0) == 0
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=["serial", "tcp"])
async def far(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VirtualPrinter]:
    endpoint: Endpoint = (
        PtyEndpoint(tmp_path / "printer") if request.param == "serial" else TcpEndpoint()
    )
    device = VirtualPrinter(endpoint, mm_per_second=1000)
    await device.start()
    yield device
    await device.stop()


def print_soon(
    printer: EscposPrinter, slip: Slip = SLIP, seconds: float = LONG
) -> "asyncio.Task[PrintOutcome]":
    return asyncio.create_task(printer.print_slip(slip, seconds))


async def outcome(job: "asyncio.Task[PrintOutcome]") -> PrintOutcome:
    return await asyncio.wait_for(job, TIMEOUT + LONG)


def tickets(far: VirtualPrinter) -> list[Paper]:
    """Complete pieces of paper with a number on them."""
    return [paper for paper in far.papers if paper.complete and "A0" in paper.text]


async def test_a_slip_comes_out_readable_in_both_languages(far: VirtualPrinter) -> None:
    async with served(far.endpoint.url) as (printer, statuses):
        assert await outcome(print_soon(printer)) == OK
        (paper,) = tickets(far)
        assert paper.qr_codes == (SLIP.qr,)
        for words in ("城东营业厅", "A012", "前面还有 3 人", "about 12 min, at most 20"):
            assert words in paper.text
        assert far.counters["text_errors"] == 0
        assert far.counters["unknown_commands"] == 0
        assert printer.available() is DeviceStatus.ONLINE
        assert statuses.seen == [DeviceStatus.ONLINE]


async def test_what_hangs_in_the_slot_at_the_start_is_cut_off_before_the_first_ticket(
    far: VirtualPrinter,
) -> None:
    async with served(far.endpoint.url) as (printer, _):
        printer.expect_scrap()
        assert await outcome(print_soon(printer)) == OK
        scrap, ticket = far.papers
        assert "VOID ABOVE" in scrap.text
        assert ticket.items[0] != scrap.items[0]
        assert await outcome(print_soon(printer)) == OK
        assert len(far.papers) == 3, "and only then"


async def test_a_printer_that_is_long_without_paper_is_emptied_of_our_questions(
    far: VirtualPrinter,
) -> None:
    far.run_out_of_paper()
    async with served(far.endpoint.url, poll_seconds=0.1) as (_, statuses):
        await statuses.reach(DeviceStatus.PAPER_OUT)
        clears = far.counters["buffer_clears"]
        await until(lambda: far.counters["buffer_clears"] > clears)


async def test_slips_come_out_one_by_one_in_order(far: VirtualPrinter) -> None:
    async with served(far.endpoint.url) as (printer, _):
        jobs = [
            print_soon(printer, replace(SLIP, number=f"A0{n}", qr=f"q{n}")) for n in range(10, 30)
        ]
        assert [await outcome(job) for job in jobs] == [OK] * 20
        assert [paper.qr_codes[0] for paper in tickets(far)] == [f"q{n}" for n in range(10, 30)]


async def test_printed_is_not_said_before_the_paper_is_out(far: VirtualPrinter) -> None:
    async with served(far.endpoint.url) as (printer, _):
        far.mm_per_second = 100
        assert await outcome(print_soon(printer)) == OK
        assert tickets(far), "the driver said printed, and nothing had come out"


async def test_without_paper_a_slip_waits_and_comes_out_once_after_the_refill(
    far: VirtualPrinter,
) -> None:
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        far.run_out_of_paper()
        job = print_soon(printer)
        await statuses.reach(DeviceStatus.PAPER_OUT)
        assert not job.done()
        far.refill_paper()
        assert await outcome(job) == OK
        assert len(tickets(far)) == 1


async def test_paper_that_runs_out_in_the_middle_is_waited_for_and_nothing_is_doubled(
    far: VirtualPrinter,
) -> None:
    far.mm_per_second = 50
    async with served(far.endpoint.url) as (printer, statuses):
        job = print_soon(printer)
        await until(lambda: far.snapshot()["strip_items"] >= 2)
        far.run_out_of_paper()
        await statuses.reach(DeviceStatus.PAPER_OUT)
        far.refill_paper()
        assert await outcome(job) == OK
        (paper,) = tickets(far)
        assert paper.interrupted


async def test_a_void_ticket_never_comes_out_later_and_its_half_is_cut_off(
    far: VirtualPrinter,
) -> None:
    far.mm_per_second = 50
    async with served(far.endpoint.url) as (printer, statuses):
        job = print_soon(printer, seconds=3.0)
        await until(lambda: far.snapshot()["strip_items"] >= 2)
        far.run_out_of_paper()
        assert await outcome(job) == UNCONFIRMED
        assert printer.counters().get("clear_unconfirmed", 0) == 0
        far.refill_paper()
        await statuses.reach(DeviceStatus.ONLINE)
        far.mm_per_second = 1000
        assert await outcome(print_soon(printer, replace(SLIP, number="A013", qr="next"))) == OK
        (paper,) = tickets(far)
        assert paper.qr_codes == ("next",)
        half, scrap, _ = list(far.papers)[-3:]
        assert not half.complete
        assert scrap.text == "--- 以上作废 VOID ABOVE ---"


async def test_a_slip_that_waited_unsent_for_paper_fails_with_that_reason(
    far: VirtualPrinter,
) -> None:
    far.run_out_of_paper()
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.PAPER_OUT)
        assert printer.available() is DeviceStatus.PAPER_OUT
        result = await outcome(print_soon(printer, seconds=0.2))
        assert result == PrintOutcome(Printed.FAILED, VoidReason.PAPER_OUT)
        far.refill_paper()
        await statuses.reach(DeviceStatus.ONLINE)
        assert not tickets(far)


async def test_automatic_statuses_that_contradict_each_other_are_asked_about(
    plug: Plug,
) -> None:
    """Noise can make four bytes that look like one: the log and the journal must not fill."""
    async with served(plug.path, automatic_status=True) as (printer, statuses):
        Scripted(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        for _ in range(50):
            plug.send(bytes.fromhex("10000c00") + bytes.fromhex("10000000"))
            await asyncio.sleep(0)
        polls = printer.counters().get("polls_unanswered", 0)
        assert await outcome(print_soon(printer, seconds=2.0)) == UNCONFIRMED, "it still works"
        assert polls == 0
        assert statuses.seen == [DeviceStatus.ONLINE]


@pytest.mark.parametrize("automatic", [False, True])
async def test_every_state_of_the_printer_is_noticed_while_idle(
    far: VirtualPrinter, automatic: bool
) -> None:
    async with served(far.endpoint.url, automatic_status=automatic) as (_, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        far.set_paper_low()
        await statuses.reach(DeviceStatus.PAPER_LOW)
        far.run_out_of_paper()
        await statuses.reach(DeviceStatus.PAPER_OUT)
        far.open_cover()
        await statuses.reach(DeviceStatus.COVER_OPEN)
        far.close_cover()
        far.refill_paper()
        await statuses.reach(DeviceStatus.ONLINE)


async def test_a_silent_printer_is_unknown_then_offline_and_never_out_of_paper(
    far: VirtualPrinter,
) -> None:
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        far.power_off()
        await statuses.reach(DeviceStatus.UNKNOWN)
        await statuses.reach(DeviceStatus.OFFLINE)
        assert statuses.seen == ["online", "unknown", "offline"]
        result = await outcome(print_soon(printer, seconds=0.2))
        assert result == PrintOutcome(Printed.FAILED, VoidReason.PRINTER_OFFLINE)
        far.power_on()
        await statuses.reach(DeviceStatus.ONLINE)
        assert await outcome(print_soon(printer)) == OK


async def test_an_absent_printer_is_offline_and_its_job_fails_in_time(tmp_path: Path) -> None:
    async with served(str(tmp_path / "absent")) as (printer, statuses):
        await statuses.reach(DeviceStatus.OFFLINE)
        result = await outcome(print_soon(printer, seconds=0.1))
        assert result == PrintOutcome(Printed.FAILED, VoidReason.PRINTER_OFFLINE)


async def test_unplugged_in_the_middle_it_is_printed_again_as_a_reprint(
    far: VirtualPrinter,
) -> None:
    far.mm_per_second = 50
    async with served(far.endpoint.url) as (printer, statuses):
        job = print_soon(printer)
        await until(lambda: far.snapshot()["strip_items"] >= 2)
        far.endpoint.unplug()
        await statuses.reach(DeviceStatus.OFFLINE)
        assert not job.done()
        far.mm_per_second = 1000
        far.endpoint.plug()
        assert await outcome(job) == OK
        assert "补打 REPRINT" in tickets(far)[-1].text
        assert printer.counters()["reprinted"] == 1
        assert printer.counters()["opened"] >= 2


async def test_unplugged_for_longer_than_its_time_a_sent_job_is_unconfirmed(
    far: VirtualPrinter,
) -> None:
    far.mm_per_second = 50
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        job = print_soon(printer, seconds=2.0)
        await until(lambda: far.snapshot()["strip_items"] >= 2)
        far.endpoint.unplug()
        assert await outcome(job) == PrintOutcome(Printed.FAILED, VoidReason.UNCONFIRMED)
        far.mm_per_second = 1000
        far.endpoint.plug()
        assert await outcome(print_soon(printer, replace(SLIP, qr="next"))) == OK
        assert "补打" not in tickets(far)[-1].text


async def test_a_slip_pressed_while_unplugged_comes_out_after_the_replug_and_is_no_reprint(
    far: VirtualPrinter,
) -> None:
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        far.endpoint.unplug()
        await statuses.reach(DeviceStatus.OFFLINE)
        job = print_soon(printer)
        far.endpoint.plug()
        assert await outcome(job) == OK
        (paper,) = tickets(far)
        assert "补打" not in paper.text


async def test_noise_on_the_wire_is_counted_and_slips_still_end(far: VirtualPrinter) -> None:
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        far.endpoint.send(b"\xff\xfe\x84" * 100 + b"\x00" * 5)
        await until(lambda: printer.counters().get("bytes_garbage", 0) == 300)
        await until(lambda: printer.counters().get("replies_unexpected", 0) == 5)
        assert await outcome(print_soon(printer)) == OK


async def test_byte_by_byte_delivery_changes_nothing(far: VirtualPrinter) -> None:
    far.endpoint.set_faults(one_byte_at_a_time=True)
    async with served(far.endpoint.url) as (printer, _):
        assert await outcome(print_soon(printer)) == OK
        assert len(tickets(far)) == 1


async def test_a_job_whose_caller_gave_up_leaves_the_line(far: VirtualPrinter) -> None:
    far.run_out_of_paper()
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.PAPER_OUT)
        job = print_soon(printer)
        await asyncio.sleep(0)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        far.refill_paper()
        assert await outcome(print_soon(printer, replace(SLIP, qr="other"))) == OK
        assert [paper.qr_codes for paper in tickets(far)] == [("other",)]


@pytest.mark.parametrize("noise", [b"\x00", b"\x05", b"\x00\x00", b"\x05\xff\x00", b"\x0f" * 8])
async def test_noise_between_a_ticket_and_its_barrier_is_not_taken_for_paper(
    far: VirtualPrinter, noise: bytes
) -> None:
    far.mm_per_second = 50
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        job = print_soon(printer)
        await until(lambda: far.snapshot()["strip_items"] >= 2)
        far.endpoint.send(noise)
        assert await outcome(job) == OK
        assert tickets(far), "the driver said printed, and nothing had come out"


async def test_a_reprint_that_runs_out_of_paper_does_not_deny_the_first_copy(
    far: VirtualPrinter,
) -> None:
    far.mm_per_second = 200
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        job = print_soon(printer, seconds=6.0)
        await until(lambda: far.snapshot()["strip_items"] >= 2)
        far.endpoint.unplug()
        await until(lambda: len(tickets(far)) == 1)
        await statuses.reach(DeviceStatus.OFFLINE)
        far.mm_per_second = 30
        far.endpoint.plug()
        await until(lambda: printer.counters().get("reprinted") == 1)
        await until(lambda: far.snapshot()["strip_items"] >= 1)
        far.run_out_of_paper()
        assert await outcome(job) == UNCONFIRMED
        assert len(tickets(far)) == 1


async def test_noise_while_the_paper_is_out_prints_no_ticket(far: VirtualPrinter) -> None:
    far.mm_per_second = 50
    async with served(far.endpoint.url) as (printer, statuses):
        job = print_soon(printer, seconds=3.0)
        await until(lambda: far.snapshot()["strip_items"] >= 2)
        far.run_out_of_paper()
        far.endpoint.send(b"\x00")  # it may have been the answer, so nobody can be certain
        assert await outcome(job) == UNCONFIRMED
        far.refill_paper()
        await statuses.reach(DeviceStatus.ONLINE)
        far.mm_per_second = 1000
        after = print_soon(printer, replace(SLIP, number="A013", qr="next"))
        assert await outcome(after) == OK
        assert [paper.qr_codes for paper in tickets(far)] == [("next",)]


# --- a printer that can't be cleared ------------------------------------------------------------


class Scripted:
    """Answers DLE EOT as ``status`` says, never DLE DC4, and barriers only when told."""

    def __init__(self, plug: Plug) -> None:
        self.plug = plug
        self.status = bytes.fromhex("12121212")
        self.lies: list[bytes] = []
        """Answered first, one each time."""
        self.received = b""
        self._fresh = b""
        asyncio.get_running_loop().add_reader(plug.master, self._readable)

    def _readable(self) -> None:
        data = self.plug.take(4096)
        self.received += data
        self._fresh += data
        at = self._fresh.rfind(b"\x10\x04\x04")
        if at >= 0:
            self._fresh = self._fresh[at + 3 :]
            self.plug.send(self.lies.pop(0) if self.lies else self.status)

    @property
    def barriers(self) -> int:
        return self.received.count(BARRIER)

    async def confirm(self, barrier: int) -> None:
        """Answer the barrier of this number, counted from 1, and the one that asks again."""
        for number in (barrier, barrier + 1):
            await until(lambda number=number: self.barriers == number)  # type: ignore[misc]
            self.plug.send(b"\x00")


@pytest.fixture
async def plug(tmp_path: Path) -> AsyncIterator[Plug]:
    plug = Plug(tmp_path)
    yield plug
    plug.pull()


async def test_a_status_that_noise_made_once_is_no_news(plug: Plug) -> None:
    async with served(plug.path) as (printer, statuses):
        far = Scripted(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        for doubted, noise in enumerate(("1a32127e", "16361212", "12123212"), start=1):
            far.lies.append(bytes.fromhex(noise))
            await until(lambda n=doubted: printer.counters().get("statuses_doubted") == n)  # type: ignore[misc]
        plug.send(bytes.fromhex("10000c00"))  # an automatic status that nobody has switched on
        await until(lambda: printer.counters().get("replies_unexpected", 0) > 0)
        assert statuses.seen == [DeviceStatus.ONLINE]


async def test_the_late_barrier_of_a_void_ticket_confirms_no_other(plug: Plug) -> None:
    async with served(plug.path) as (printer, statuses):
        far = Scripted(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        job = print_soon(printer, seconds=1.2)
        await until(lambda: far.barriers == 1)
        far.status = PAPER_OUT
        assert await outcome(job) == UNCONFIRMED, "it may still come out"
        assert printer.counters()["clear_unconfirmed"] == 2  # at the start and now
        assert far.received.count(CLEAR_BUFFERS) == 2
        waiting = print_soon(printer, replace(SLIP, number="A013"))
        far.status = bytes.fromhex("12121212")
        await statuses.reach(DeviceStatus.ONLINE)
        assert far.barriers == 1, "nothing is sent before the old barrier is settled"
        plug.send(b"\x00")
        await until(lambda: far.barriers == 2)
        assert printer.counters()["printed_after_void"] == 1
        assert not waiting.done()
        await far.confirm(2)
        assert await outcome(waiting) == OK


async def test_a_barrier_answered_just_before_the_clearing_is_a_printed_ticket(
    plug: Plug,
) -> None:
    async with served(plug.path) as (printer, statuses):
        far = Scripted(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        before = far.received.count(CLEAR_BUFFERS)
        job = print_soon(printer, seconds=1.2)
        await until(lambda: far.received.count(CLEAR_BUFFERS) == before + 1)
        plug.send(b"\x00\x37\x25\x00")
        assert await outcome(job) == OK
        assert printer.counters().get("failed", 0) == 0


async def test_a_noisy_answer_just_before_the_clearing_is_no_printed_ticket(plug: Plug) -> None:
    async with served(plug.path) as (printer, statuses):
        far = Scripted(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        before = far.received.count(CLEAR_BUFFERS)
        job = print_soon(printer, seconds=1.2)
        await until(lambda: far.received.count(CLEAR_BUFFERS) == before + 1)
        plug.send(b"\xff\x00\x37\x25\x00")
        assert await outcome(job) == UNCONFIRMED


async def test_an_answer_at_the_clearing_of_a_printer_without_paper_confirms_nothing(
    plug: Plug,
) -> None:
    async with served(plug.path) as (printer, statuses):
        far = Scripted(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        before = far.received.count(CLEAR_BUFFERS)
        job = print_soon(printer, seconds=2.5)
        await until(lambda: far.barriers == 1)
        far.status = PAPER_OUT
        await until(lambda: far.received.count(CLEAR_BUFFERS) == before + 1)
        plug.send(b"\x00\x37\x25\x00")
        assert await outcome(job) == UNCONFIRMED


@pytest.mark.parametrize("what", ["run_out_of_paper", "open_cover"])
async def test_a_ticket_that_was_cut_before_the_printer_stopped_is_never_void_for_certain(
    far: VirtualPrinter, what: str
) -> None:
    """It is the last one of the roll: whoever has it in their hand can rejoin."""
    far.on_paper(lambda paper: getattr(far, what)())
    async with served(far.endpoint.url) as (printer, statuses):
        await statuses.reach(DeviceStatus.ONLINE)
        assert await outcome(print_soon(printer, seconds=2.0)) == UNCONFIRMED
        assert len(tickets(far)) == 1


class Deaf(Scripted):
    """Answers all that it is asked, but what the first barrier is answered is lost on the wire."""

    first_answer = b""
    barriers_seen = 0

    def _readable(self) -> None:
        data = self.plug.take(4096)
        self.received += data
        self._fresh += data
        if CLEAR_BUFFERS in data:
            self.plug.send(b"\x37\x25\x00")
        while found := [
            (at, asked)
            for asked in (b"\x10\x04\x04", BARRIER)
            if (at := self._fresh.find(asked)) >= 0
        ]:
            at, asked = min(found)
            self._fresh = self._fresh[at + len(asked) :]
            if asked == BARRIER:
                self.barriers_seen += 1
                self.plug.send(self.first_answer if self.barriers_seen == 1 else b"\x00")
            else:
                self.plug.send(self.lies.pop(0) if self.lies else self.status)


@pytest.mark.parametrize("answer", [b"", b"\x80"], ids=["lost", "garbled"])
async def test_an_answer_that_was_lost_is_asked_for_again(
    plug: Plug, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(escpos_printer, "_LOST_SECONDS", 0.2)
    async with served(plug.path) as (printer, statuses):
        far = Deaf(plug)
        far.first_answer = answer
        await statuses.reach(DeviceStatus.ONLINE)
        assert await outcome(print_soon(printer)) == OK
        assert printer.counters()["barriers_repeated"] >= 1
        assert await outcome(print_soon(printer, replace(SLIP, number="A013"))) == OK


async def test_a_printer_that_was_silent_meanwhile_is_not_asked_again_for_what_it_forgot(
    plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was switched off and on: it would answer, and has no ticket any more."""
    monkeypatch.setattr(escpos_printer, "_LOST_SECONDS", 0.2)
    async with served(plug.path) as (printer, statuses):
        far = Deaf(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        job = print_soon(printer, seconds=4.0)
        await until(lambda: far.barriers_seen == 1)
        far.lies = [b"", b""]  # both questions of one poll
        assert await outcome(job) == UNCONFIRMED
        assert "barriers_repeated" not in printer.counters()
        assert far.barriers_seen == 1


async def test_a_printer_that_answers_no_barrier_leaves_it_open_whether_it_printed(
    plug: Plug,
) -> None:
    async with served(plug.path) as (printer, statuses):
        Scripted(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        assert await outcome(print_soon(printer, seconds=2.0)) == UNCONFIRMED
        assert printer.counters()["barriers_unanswered"] == 1


@pytest.mark.parametrize(
    "answer", [b"\x00\xff", b"\xff\x00", b"\x00\x00"], ids=["behind", "before", "twice"]
)
async def test_an_answer_with_another_byte_beside_it_is_doubted_and_asked_for_again(
    plug: Plug, answer: bytes
) -> None:
    async with served(plug.path) as (printer, statuses):
        far = Scripted(plug)
        await statuses.reach(DeviceStatus.ONLINE)
        job = print_soon(printer)
        await until(lambda: far.barriers == 1)
        plug.send(b"\x00")
        for doubted in range(2):
            await until(lambda doubted=doubted: far.barriers == 2 + doubted)  # type: ignore[misc]
            plug.send(answer)
        await until(lambda: far.barriers == 4)
        assert not job.done()
        plug.send(b"\x00")
        assert await outcome(job) == OK
        assert printer.counters()["barriers_doubted"] == 2


async def test_a_printer_is_emptied_and_given_its_styles_again_after_a_reconnect(
    plug: Plug,
) -> None:
    """Whoever used it meanwhile, or its own switching off and on, may have left others."""
    async with served(plug.path) as (printer, statuses):
        for _ in range(2):
            far = Scripted(plug)
            await statuses.reach(DeviceStatus.ONLINE)
            job = print_soon(printer)
            await far.confirm(1)
            assert await outcome(job) == OK
            sent = far.received
            assert sent.startswith(CLEAR_BUFFERS)
            assert 0 < sent.find(INITIALISE) < sent.index(b"A012")
            plug.pull()
            await statuses.reach(DeviceStatus.OFFLINE)
            plug.plug_in()


async def test_a_printer_that_is_not_ready_is_sent_nothing_that_it_could_print_later(
    plug: Plug,
) -> None:
    async with served(plug.path) as (printer, statuses):
        far = Scripted(plug)
        far.status = bytes.fromhex("1a32127e")
        await statuses.reach(DeviceStatus.PAPER_OUT)
        job = print_soon(printer)
        polls = far.received.count(b"\x10\x04\x04")
        await until(lambda: far.received.count(b"\x10\x04\x04") >= polls + 3)
        assert b"A012" not in far.received
        far.status = bytes.fromhex("12121212")
        await far.confirm(1)
        assert await outcome(job) == OK
