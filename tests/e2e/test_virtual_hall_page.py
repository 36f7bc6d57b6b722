"""The virtual hall's page in a real browser, over real wires, with the real daemon behind it."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Locator, Page, expect

from simulator.hall import HallOptions, VirtualHall, clean_environment
from simulator.web import serve_pages
from tests.support.real_hall import until

SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""A folder to keep pictures in, for people."""
NUMBER = re.compile(r"\b[A-C]\d{3}\b")
SIZES = {"desktop": (1440, 900), "large": (1920, 1080), "tablet": (1024, 768), "phone": (390, 844)}


@pytest.fixture
async def hall(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[VirtualHall]:
    """Of two windows, or as many as the test names."""
    clean_environment()
    windows = getattr(request, "param", 2)
    hall = VirtualHall(HallOptions(windows=windows, speed=1, directory=tmp_path / "hall"))
    try:
        await hall.start()
        yield hall
    finally:
        await hall.stop()


class Visitor:
    """Somebody at the page; keeps what the browser complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda line: self.complaints.append(line.text) if "Security" in line.text else None,
        )

    def key(self, at: str, key: str) -> Locator:
        return self.page.locator(f'[data-at="{at}"][data-key="{key}"]')

    def lamp(self, where: str, lamp: str) -> Locator:
        return self.page.locator(f"{where} [data-lamp={lamp}]")

    async def sees_lit(self, where: str, lamp: str) -> None:
        """Looked for in every frame that is painted: an answer shines for 0.3 s only."""
        await self.page.wait_for_function(
            "selector => document.querySelector(selector).classList.contains('lit')",
            arg=f"{where} [data-lamp={lamp}]",
        )

    async def sees_accepted(self, window: int) -> None:
        """The caller's lamp has answered, and is out again: no hand presses another key sooner."""
        lamp = f"[data-window='{window}'] .caller"
        await self.sees_lit(lamp, "accepted")
        await expect(self.lamp(lamp, "accepted")).not_to_have_class(re.compile("lit"))

    def fault(self, name: str) -> Locator:
        return self.page.locator(f"[data-fault={name}]")

    async def reads(self, window: int, text: str | re.Pattern[str]) -> None:
        """What stands on a window's bar; a call blinks, so it may take a moment."""
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        bar = self.page.locator(f"[data-window='{window}'] canvas")
        await expect(bar).to_have_attribute("data-text", pattern)

    async def newest_ticket(self, after: str = "") -> str:
        """The number on the paper that hangs from the slot, once it is another one."""
        paper = self.page.locator("#outlet button.paper")
        await expect(paper).to_contain_text(NUMBER)
        if after:
            await expect(paper).not_to_contain_text(after)
        found = NUMBER.search(await paper.inner_text())
        assert found is not None
        return found[0]


async def visit(browser: Browser, address: str, language: str = "en-GB") -> Visitor:
    page = await browser.new_page(viewport={"width": 1440, "height": 900}, locale=language)
    visitor = Visitor(page)
    await page.goto(address)
    await expect(page.locator(".booth")).not_to_have_count(0)
    # Before its first poll a keypad can't answer a short press.
    for device in (".dispenser", ".caller", ".evaluator"):
        await expect(page.locator(f"{device}.unserved")).to_have_count(0)
    await visitor.sees_lit("#dispenser", "ready")
    return visitor


async def test_a_press_becomes_paper_a_call_and_a_rating(
    hall: VirtualHall, browser: Browser
) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        page = visitor.page
        await visitor.key("dispenser", "payment").click()
        number = await visitor.newest_ticket()
        assert number in hall.fittings.printer.papers[-1].text
        qr = page.locator("#outlet .paper img.qr")
        await expect(qr).to_be_visible()
        assert await qr.evaluate("image => image.naturalWidth") > 0

        await visitor.reads(1, "窗口关闭")
        await visitor.key("caller-1", "sign_on").click()
        await visitor.sees_accepted(1)
        await visitor.reads(1, "等候1人")
        await visitor.key("caller-1", "call_next").click()
        await visitor.sees_accepted(1)
        await visitor.reads(1, f"{number} 请到1号窗口")
        await expect(page.locator("#live")).to_contain_text(number)
        await visitor.key("caller-1", "start").click()
        await visitor.sees_accepted(1)
        await visitor.reads(1, f"{number} 正在办理")
        await visitor.key("caller-1", "finish").click()
        booth = "[data-window='1'] .evaluator"
        await visitor.sees_lit(booth, "asking")
        await visitor.key("evaluator-1", "very_satisfied").click()
        await visitor.sees_lit(booth, "thanks")
        # A press that the rules refuse is answered too.
        await visitor.key("caller-1", "recall").click()
        await visitor.sees_lit("[data-window='1'] .caller", "refused")
        figures = page.locator("#figures")
        await expect(figures.locator("[data-figure=unanswered] dd")).to_have_text("0")
        here = figures.locator("[data-figure=journaled] dd")
        await expect(here).not_to_have_text(re.compile("^[–0]$"))
        assert visitor.complaints == []


async def test_everything_can_be_done_by_keyboard(hall: VirtualHall, browser: Browser) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        page = visitor.page
        await page.keyboard.press("z")
        number = await visitor.newest_ticket()
        await page.keyboard.press("2")
        await expect(page.locator("[data-window='2']")).to_have_class(re.compile("chosen"))
        await page.keyboard.press("g")
        await visitor.sees_accepted(2)
        await visitor.reads(2, "等候1人")
        await page.keyboard.press("c")
        await visitor.sees_accepted(2)
        await visitor.reads(2, f"{number} 请到2号窗口")

        # A focused key is held as long as Space is.
        start = visitor.key("caller-2", "start")
        await start.focus()
        await page.keyboard.down(" ")
        await until(lambda: _down(hall, 2, "start"))
        await visitor.reads(2, f"{number} 正在办理")
        assert _down(hall, 2, "start")
        await page.keyboard.up(" ")
        await until(lambda: not _down(hall, 2, "start"))

        await page.keyboard.press("f")
        await visitor.sees_lit("[data-window='2'] .evaluator", "asking")
        await page.keyboard.press("y")
        await visitor.sees_lit("[data-window='2'] .evaluator", "thanks")

        await page.keyboard.press("?")
        await expect(page.locator("#help")).to_be_visible()
        before = hall.ledger.presses
        await page.keyboard.press("z")  # the list is open: nobody wants a ticket
        await page.get_by_label("Use single-key shortcuts").uncheck()
        await page.keyboard.press("Escape")
        await page.keyboard.press("z")  # and now nobody wants shortcuts
        assert hall.ledger.presses == before
        assert visitor.complaints == []


async def test_people_come_and_go_and_time_runs_at_the_speed_that_the_keyboard_sets(
    hall: VirtualHall, browser: Browser
) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        page = visitor.page
        await page.locator("#speed").focus()
        await page.keyboard.press("End")
        await expect(page.locator("#speed-shown")).to_have_text("120×")
        await until(lambda: hall.speed == 120)
        people = page.get_by_role("switch", name="Automatic people")
        await people.focus()
        await page.keyboard.press("Space")
        await expect(people).to_have_attribute("aria-checked", "true")
        await until(lambda: len(hall.ledger.calls) > 0)  # doors open, and somebody is called
        await page.keyboard.press("a")
        await expect(people).to_have_attribute("aria-checked", "false")
        assert not hall.people.automatic
        assert visitor.complaints == []


async def test_broker_and_network_are_taken_away_and_given_back_by_keyboard(
    hall: VirtualHall, browser: Browser
) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        for fault in ("broker_down", "network_down"):
            switch = visitor.fault(fault)
            for on in (True, False):
                await switch.focus()
                await visitor.page.keyboard.press("Space")
                await expect(switch).to_have_attribute("aria-checked", str(on).lower())
                assert hall.faults()[fault] is on
        broker = visitor.page.locator("#programs [data-program=broker]")
        await expect(broker).to_have_attribute("data-status", "ready")
        assert visitor.complaints == []


def _down(hall: VirtualHall, window: int, key: str) -> bool:
    return bool(hall.fittings.caller(window).snapshot()["keys"][key]["down"])


async def test_paper_out_lights_its_lamp_and_a_lost_half_looks_torn(
    hall: VirtualHall, browser: Browser
) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        printer, page = hall.fittings.printer, visitor.page
        lamps = "#dispenser"

        printer.mm_per_second = 4.0
        await visitor.key("dispenser", "enquiry").click()
        await until(lambda: len(printer.snapshot()["strip"]) >= 3)
        await visitor.fault("paper_out").click()
        await expect(visitor.fault("paper_out")).to_have_attribute("aria-checked", "true")
        await visitor.sees_lit(lamps, "no_paper")
        await expect(page.locator("#outlet .strip")).to_be_visible()

        await visitor.fault("printer_off").click()
        torn = page.locator("#outlet .paper.torn")
        await expect(torn).to_be_visible()
        assert not printer.papers[-1].complete

        printer.mm_per_second = 250.0
        await visitor.fault("printer_off").click()
        await visitor.fault("paper_out").click()
        await visitor.sees_lit(lamps, "ready")
        await expect(visitor.lamp(lamps, "no_paper")).not_to_have_class(re.compile("lit"))
        assert visitor.complaints == []


async def test_cables_come_out_and_go_in_and_keys_jam(hall: VirtualHall, browser: Browser) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        page = visitor.page
        await page.get_by_label("Which cable").select_option("screen-1")
        await page.get_by_role("button", name="Unplug").click()
        await expect(page.locator("[data-window='1']")).to_have_class(re.compile("dark"))
        await visitor.reads(1, re.compile("^$"))
        await page.get_by_role("button", name="Plug in screen 1").click()
        await visitor.reads(1, "窗口关闭")

        await page.get_by_label("Which device").select_option("caller-2")
        await page.get_by_label("Which key").select_option("pause")
        await page.get_by_role("button", name="Jam").click()
        await expect(visitor.key("caller-2", "pause")).to_have_class(re.compile("stuck"))
        await page.get_by_role("button", name="Free caller 2").click()
        await expect(visitor.key("caller-2", "pause")).not_to_have_class(re.compile("stuck"))
        assert visitor.complaints == []


async def test_the_page_speaks_two_languages_and_remembers_which(
    hall: VirtualHall, browser: Browser
) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address, "zh-CN")
        page = visitor.page
        await expect(page.locator("h1")).to_have_text("滨江营业厅")
        await expect(visitor.key("caller-1", "call_next")).to_contain_text("叫号")
        await page.locator("#language").click()
        await expect(page.locator("h1")).to_have_text("Riverside Hall")
        await expect(visitor.key("caller-1", "call_next")).to_contain_text("Call next")
        await expect(page.locator("#stuck-key option").first).to_have_text("Payment")
        await expect(page.locator("html")).to_have_attribute("lang", "en")
        await page.reload()
        await expect(page.locator("h1")).to_have_text("Riverside Hall")
        await page.keyboard.press("l")
        await expect(page.locator("#bench-title")).to_have_text("故障台")
        assert visitor.complaints == []


async def test_a_killed_daemon_comes_back_under_an_open_page(
    hall: VirtualHall, browser: Browser
) -> None:
    async with serve_pages(hall, 0) as address:
        one, other = await visit(browser, address), await visit(browser, address)
        await one.key("dispenser", "payment").click()
        number = await one.newest_ticket()
        assert await other.newest_ticket() == number
        status = one.page.locator("#programs [data-program=daemon]")
        await expect(status).to_have_attribute("data-status", "ready")
        await one.page.get_by_role("button", name="Kill the Daemon").click()
        for visitor in (one, other):  # else what is seen next may be from before
            kills = visitor.page.locator(".kill[data-program=daemon] small")
            await expect(kills).to_have_text("×1")
        await expect(status).to_have_attribute("data-status", "ready")
        await expect(one.page.locator(".unserved")).to_have_count(0)
        await one.sees_lit("#dispenser", "ready")
        await one.key("dispenser", "payment").click()
        assert await other.newest_ticket(after=number) != number
        assert one.complaints == other.complaints == []


async def test_a_hidden_page_rests_and_catches_up(hall: VirtualHall, browser: Browser) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        page = visitor.page
        await page.evaluate("""() => {
            window.hiddenNow = true;
            Object.defineProperty(document, "hidden", { get: () => window.hiddenNow });
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        other = await visit(browser, address)
        for on in ("true", "false", "true"):
            await other.fault("paper_low").click()
            await expect(other.fault("paper_low")).to_have_attribute("aria-checked", on)
        assert await visitor.fault("paper_low").get_attribute("aria-checked") == "false"
        await page.evaluate("""() => {
            window.hiddenNow = false;
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        await expect(visitor.fault("paper_low")).to_have_attribute("aria-checked", "true")
        assert visitor.complaints == []


async def test_nothing_is_painted_where_nothing_happens(
    hall: VirtualHall, browser: Browser
) -> None:
    """Controller and devices share the processors of a small machine with this page."""
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        page = visitor.page
        await visitor.key("dispenser", "payment").click()
        await visitor.newest_ticket()
        # What moved comes to rest: the paper, the people.
        await page.wait_for_function("document.getAnimations().length === 0")
        touched = await page.evaluate("""() => new Promise((done) => {
            const seen = new Set();
            new MutationObserver((records) => {
                for (const { target } of records) {
                    const element = target.nodeType === 1 ? target : target.parentElement;
                    const named = element.closest("[id], [data-figure]");
                    seen.add(named.dataset.figure ?? named.id);
                }
                if (seen.has("seconds")) done([...seen]); // the clock goes on, as it must
            }).observe(document.body, {
                subtree: true, childList: true, attributes: true, characterData: true,
            });
        })""")
        assert set(touched) <= {"seconds", "clock", "programs", "journaled", "atCentre"}


async def test_a_lost_line_is_said_and_found_again(hall: VirtualHall, browser: Browser) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        port = int(address.rstrip("/").rpartition(":")[2])
    stale = visitor.page.locator("#stale")
    await expect(stale).to_contain_text(re.compile(r"Stale since \d\d:\d\d"))
    await expect(visitor.page.locator(".booth")).to_have_count(2)  # what was seen stays
    async with serve_pages(hall, port):
        await expect(stale).to_be_hidden()
        await visitor.key("dispenser", "enquiry").click()
        assert (await visitor.newest_ticket()).startswith("C")


async def test_another_site_cannot_press_through_somebodys_browser(
    hall: VirtualHall, browser: Browser
) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        live = address.replace("http", "ws") + "live"
        assert await visitor.page.evaluate(_CONNECTED, live) == "open"
        async with other_site() as elsewhere:
            foreign = await browser.new_page()
            await foreign.goto(elsewhere)
            assert await foreign.evaluate(_CONNECTED, live) == "refused"


_CONNECTED = """address => new Promise(resolve => {
    const socket = new WebSocket(address);
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
})"""


@asynccontextmanager
async def other_site() -> AsyncIterator[str]:
    """A page on this machine that is not ours."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(
            text="<!doctype html><title>elsewhere</title>", content_type="text/html"
        )

    application = web.Application()
    application.router.add_get("/", page)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_the_centre_stands_beside_the_hall(hall: VirtualHall, browser: Browser) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)
        page = visitor.page
        await expect(page.locator("#centre")).to_be_hidden()
        await page.get_by_role("button", name="Show the centre").click()
        frame = page.frame_locator("#centre-frame")
        await expect(frame.locator("#name")).not_to_be_empty()
        assert visitor.complaints == []


@pytest.mark.parametrize("hall", [6], indirect=True)
@pytest.mark.parametrize("language", ["zh-CN", "en-GB"])
async def test_the_page_with_six_windows_fits_every_screen(
    hall: VirtualHall, browser: Browser, language: str
) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address, language)
        for name, (width, height) in SIZES.items():
            await visitor.page.set_viewport_size({"width": width, "height": height})
            await expect(visitor.key("evaluator-6", "dissatisfied")).to_be_attached()
            across = await visitor.page.evaluate("document.documentElement.scrollWidth")
            assert across <= width, name
            small = await visitor.page.evaluate(_CUT_OFF_LABELS)
            assert small == [], name
            if SCREENSHOTS:
                picture = Path(SCREENSHOTS, f"hall-{name}-{language[:2]}.png")
                await visitor.page.screenshot(path=picture)


@pytest.mark.parametrize("hall", [6], indirect=True)
async def test_beside_the_centre_there_is_room_for_two_columns_and_the_panel_is_always_whole(
    hall: VirtualHall, browser: Browser
) -> None:
    async with serve_pages(hall, 0) as address:
        visitor = await visit(browser, address)  # in English, whose labels are longer
        page = visitor.page
        await page.get_by_role("button", name="Show the centre").click()
        await expect(page.locator("#centre")).to_be_visible()
        for width, height in ((1440, 900), (1366, 768)):
            await page.set_viewport_size({"width": width, "height": height})
            assert await page.evaluate(_COLUMNS) == 2
            assert await page.evaluate(_CUT_OFF_LABELS) == []
            await page.locator("#bench-title").scroll_into_view_if_needed()
            assert await page.evaluate(_PANEL_ENDS) == height


_COLUMNS = (
    """new Set([...document.querySelectorAll(".booth")].map(booth => booth.offsetLeft)).size"""
)
_PANEL_ENDS = """document.getElementById("centre").getBoundingClientRect().bottom"""
_CUT_OFF_LABELS = """[...document.querySelectorAll(".key, .face, .service")]
    .filter(key => key.scrollWidth > key.clientWidth + 1 || key.scrollHeight > key.clientHeight + 1)
    .map(key => key.textContent)"""
