from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.broker import Broker, running_broker


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with running_broker(tmp_path / "broker") as running:
        yield running
