"""What the tests in a browser share: Chromium, a broker, a centre."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.support.broker import Broker, running_broker
from tests.support.centre import CentreProcess, running_centre

expect.set_options(timeout=40_000)
"""Milliseconds; a machine may be busy. What is wrong is wrong for ever, so it costs nothing."""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
async def centre(tmp_path: Path, broker: Broker) -> AsyncIterator[CentreProcess]:
    async with running_centre(tmp_path / "centre", broker) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    async with async_playwright() as playwright:
        # Without a system's Chromium, Playwright's own is taken, where it was installed.
        launched = await playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield launched
        await launched.close()
