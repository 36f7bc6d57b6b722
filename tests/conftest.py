"""What tests of several folders share: a broker, and a centre that uses it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.broker import Broker, running_broker
from tests.support.centre import CentreProcess, running_centre


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
async def centre(tmp_path: Path, broker: Broker) -> AsyncIterator[CentreProcess]:
    async with running_centre(tmp_path / "centre", broker) as running:
        yield running
