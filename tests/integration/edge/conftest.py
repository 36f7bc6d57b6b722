"""What the edge's integration tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small_disk import mounted_small_disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    with mounted_small_disk(tmp_path / "disk") as folder:
        yield folder
