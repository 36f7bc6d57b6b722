"""The centre's page in a real browser, fed by a real broker."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from contract import topics
from contract.documents import HallReport
from contract.names import Presence
from messaging.session import connect
from tests.support.broker import Broker
from tests.support.centre import CentreProcess, running_centre
from tests.support.hall_day import EPOCH, HallDay, backlog, envelopes

SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""A folder to keep pictures in, for people."""

NAMES: dict[str, Any] = {
    "hall-a": {
        "name": {"zh": "滨江营业厅", "en": "Riverside"},
        "service_names": {"payment": {"zh": "缴费", "en": "Payment"}},
    }
}
EVENTS = HallDay(21).whole(90)
TEXTS = envelopes(EVENTS, "hall-a")


async def send(broker: Broker, hall: str, texts: list[str], *, head: int = 0) -> None:
    async with connect(broker.client(hall)) as session:
        state = HallReport(
            hall=hall, presence=Presence.ONLINE, epoch=EPOCH, head=head, **NAMES.get(hall, {})
        )
        await session.publish(topics.state(hall), state.model_dump_json().encode(), retain=True)
        for start in range(0, len(texts), 200):
            batch = backlog(texts[start : start + 200])
            await session.publish(topics.backlog(hall), batch)


async def picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        await page.screenshot(path=Path(SCREENSHOTS, f"{name}.png"), full_page=True)


async def test_the_centres_page_shows_halls_moves_and_never_goes_empty(
    broker: Broker, centre: CentreProcess, browser: Browser
) -> None:
    page = await browser.new_page(viewport={"width": 1440, "height": 900}, locale="zh-CN")
    foreign: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: foreign.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Security" in line.text else None)

    await page.goto(f"http://127.0.0.1:{centre.page_port}/")
    await expect(page.locator("#notice")).to_contain_text("尚无营业厅")

    await send(broker, "hall-a", TEXTS[:300], head=300)
    await send(broker, "hall-b", envelopes(HallDay(22, hall=1).whole(20), "hall-b"))
    await expect(page.locator("#name")).to_have_text("滨江营业厅")
    await expect(page.locator("#link")).to_have_text("实时")
    await expect(page.locator("#windows li")).to_have_count(3)
    await expect(page.locator("#halls li")).to_have_count(2)
    await expect(page.locator("#today")).to_contain_text("正在等候")
    await picture(page, "centre-1440-zh")

    # The numbers move by themselves.
    issued = page.locator("#today .figure").nth(1).locator("dd")
    before = int(await issued.inner_text())
    lighting_up = asyncio.ensure_future(
        page.wait_for_selector("#today .figure:nth-child(2) dd.moved")
    )
    await send(broker, "hall-a", TEXTS[300:], head=len(TEXTS))
    await expect(issued).not_to_have_text(str(before))
    await lighting_up
    await expect(page.locator(".moved")).to_have_count(0)

    # Names in the language of the page; where there are none, the ids.
    await expect(page.locator("#services .service")).to_have_text(["缴费", "enquiry"])

    # English, by keyboard, and it stays in the address.
    await page.locator("button[data-lang=en]").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#link")).to_have_text("Live")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    assert "lang=en" in page.url
    await expect(page.locator("#name")).to_have_text("Riverside")
    await expect(page.locator("#services .service")).to_have_text(["Payment", "enquiry"])
    await page.locator("#halls button").first.focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("#name")).to_have_text("hall-b")
    await page.keyboard.press("ArrowUp")
    await picture(page, "centre-1440-en")

    # The link breaks: since when, and everything stays.
    shown = await issued.inner_text()
    await broker.kill9()
    stale = re.compile(r"^Stale since \d\d:\d\d$")
    await expect(page.locator("#link")).to_have_text(stale)
    await expect(page.locator("#halls li")).to_have_count(2)
    await expect(issued).to_have_text(shown)
    await picture(page, "centre-1440-stale")
    await broker.start()
    await expect(page.locator("#link")).to_have_text("Live")

    # The broker lives and the centre is dead: that is stale, too.
    await centre.kill9()
    await expect(page.locator("#link")).to_have_text(stale)

    assert errors == []
    assert {url.split("/")[2] for url in foreign} == {f"127.0.0.1:{centre.page_port}"}
    await page.close()


async def test_the_centres_page_fits_a_phone(
    broker: Broker, centre: CentreProcess, browser: Browser
) -> None:
    await send(broker, "hall-a", TEXTS, head=len(TEXTS))
    page = await browser.new_page(viewport={"width": 390, "height": 844}, locale="en-GB")
    await page.goto(f"http://127.0.0.1:{centre.page_port}/?lang=en")
    await expect(page.locator("#windows li")).to_have_count(3)
    await picture(page, "centre-390-en")
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    await page.goto(f"http://127.0.0.1:{centre.page_port}/?lang=zh")
    await expect(page.locator("#windows li")).to_have_count(3)
    await picture(page, "centre-390-zh")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.close()


async def test_what_has_not_changed_is_not_touched(
    broker: Broker, centre: CentreProcess, browser: Browser
) -> None:
    """Each change is laid out and painted anew, and a small machine has other things to do."""
    await send(broker, "hall-a", TEXTS, head=len(TEXTS))
    page = await browser.new_page(locale="en-GB")
    await page.goto(f"http://127.0.0.1:{centre.page_port}/?lang=en")
    await expect(page.locator("#windows li")).to_have_count(3)
    touched = await page.evaluate("""() => {
        const row = document.querySelector("#halls button");
        row.click(); // what came since the last picture is drawn
        const observer = new MutationObserver(() => {});
        observer.observe(document, {
            subtree: true, childList: true, attributes: true, characterData: true,
        });
        row.click(); // the same once more
        const seen = observer.takeRecords().map(({ type, attributeName, target }) =>
            `${type} ${attributeName} of ${target.id || target.className}`);
        row.textContent += ""; // what would be seen
        return [seen, observer.takeRecords().length];
    }""")
    assert touched[0] == []
    assert touched[1] > 0
    # Nor does anything move by itself.
    assert await page.evaluate("document.getAnimations().length") == 0
    await page.close()


async def test_a_document_that_is_not_a_halls_leaves_the_page_as_it_is(
    broker: Broker, centre: CentreProcess, browser: Browser
) -> None:
    """Some brokers hand retained messages to whoever subscribes to anything."""
    page = await browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"http://127.0.0.1:{centre.page_port}/?lang=en")
    await expect(page.locator("#link")).to_have_text("Live")
    async with connect(broker.client("centre")) as session:
        for told in (b"{", b"[]", b"null", b'{"hall": "hall-0"}', b'{"hall": 1, "services": []}'):
            await session.publish(topics.live("hall-0"), told)
    await send(broker, "hall-a", TEXTS, head=len(TEXTS))
    await expect(page.locator("#name")).to_have_text("Riverside")
    await expect(page.locator("#halls li")).to_have_count(1)
    assert errors == []
    await page.close()


async def test_a_page_whose_login_is_refused_says_so(
    broker: Broker, tmp_path: Path, browser: Browser
) -> None:
    async with running_centre(tmp_path / "centre", broker) as centre:
        await centre.stop()
        centre.config.with_name("dashboards").write_text("wrong\n", encoding="utf-8")
        await centre.start()
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{centre.page_port}/?lang=en")
        await expect(page.locator("#notice")).to_contain_text("refused")
        await page.close()
