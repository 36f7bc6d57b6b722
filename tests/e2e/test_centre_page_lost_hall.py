"""A hall that is away, on the centre's page: since when, and nothing of it in today's colours."""

import re
from contextlib import suppress

import pytest
from playwright.async_api import Browser, Page, expect

from contract import topics
from contract.documents import HallReport
from contract.events import DeviceChanged
from contract.names import DeviceStatus, Presence
from messaging.session import Will, connect
from tests.e2e.test_centre_page import NAMES, picture
from tests.support.broker import Broker
from tests.support.centre import CentreProcess
from tests.support.hall_day import EPOCH, HallDay, backlog, envelopes

HALL = "hall-a"
DAY = HallDay(21).whole(90)
DEVICES = [
    DeviceChanged(at=DAY[-1].at, device=device, status=status)
    for device, status in (
        ("printer", DeviceStatus.ONLINE),
        ("call-screen", DeviceStatus.ONLINE),
        ("keypad-3", DeviceStatus.FAULT),
    )
]
TEXTS = envelopes([*DAY, *DEVICES], HALL)
LAST_HEARD = re.compile(r"^Lost · last heard at \d\d:\d\d$")


class HallDies(Exception):
    """So that its last will speaks."""


async def live_until_seen(broker: Broker, page: Page) -> None:
    """The hall says all it has and is online; when the page shows it, it dies."""
    lost = HallReport(hall=HALL, presence=Presence.LOST)
    will = Will(topics.state(HALL), lost.model_dump_json().encode())
    online = HallReport(
        hall=HALL, presence=Presence.ONLINE, epoch=EPOCH, head=len(TEXTS), **NAMES[HALL]
    )
    with suppress(HallDies):
        async with connect(broker.client(HALL), will) as session:
            payload = online.model_dump_json().encode()
            await session.publish(topics.state(HALL), payload, retain=True)
            await session.publish(topics.backlog(HALL), backlog(TEXTS))
            await expect(page.locator("#presence")).to_contain_text(re.compile("^Online|^在线"))
            await expect(page.locator("#devices .good")).to_have_count(2)
            raise HallDies


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
async def test_a_lost_hall_says_when_it_was_heard_and_shows_nothing_as_if_it_were_now(
    broker: Broker, centre: CentreProcess, browser: Browser, width: int, height: int
) -> None:
    page = await browser.new_page(viewport={"width": width, "height": height}, locale="en-GB")
    await page.goto(f"http://127.0.0.1:{centre.page_port}/?lang=en")
    await live_until_seen(broker, page)

    await expect(page.locator("#presence")).to_have_text(LAST_HEARD)
    await expect(page.locator("#halls .more")).to_have_text(LAST_HEARD)
    await expect(page.locator("#devices-title")).to_have_text(
        re.compile(r"^Devices as of \d\d:\d\d$")
    )
    await expect(page.locator("#devices .pill")).to_have_count(3)
    await expect(page.locator("#devices .good, #devices .bad")).to_have_count(0)
    grey = "one => getComputedStyle(one.closest('.section')).filter"
    assert await page.locator("#windows").evaluate(grey) == "grayscale(1)"
    await picture(page, f"centre-{width}-lost-en")
    await page.locator("button[data-lang=zh]").click()
    await expect(page.locator("#presence")).to_have_text(re.compile(r"^失联 · 最后心跳 \d\d:\d\d$"))
    await expect(page.locator("#devices-title")).to_have_text(re.compile(r"\d\d:\d\d"))
    await picture(page, f"centre-{width}-lost-zh")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width

    # It comes back by itself, in all its colours.
    await live_until_seen(broker, page)
    await page.close()


async def test_a_centre_that_never_heard_the_hall_claims_no_time(
    broker: Broker, centre: CentreProcess, browser: Browser
) -> None:
    page = await browser.new_page(locale="en-GB")
    await page.goto(f"http://127.0.0.1:{centre.page_port}/?lang=en")
    await live_until_seen(broker, page)
    await expect(page.locator("#presence")).to_have_text(LAST_HEARD)
    await centre.stop()
    await centre.start()
    await expect(page.locator("#presence")).to_have_text("Lost")
    await expect(page.locator("#devices-title")).to_have_text("Devices, as last known")
    await page.close()
