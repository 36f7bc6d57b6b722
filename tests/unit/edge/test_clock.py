"""Whether the machine's clock can be believed."""

from datetime import UTC, datetime
from pathlib import Path

from edge.clock import clock_is_synced

NOW = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
WITHOUT_BATTERY = datetime(1970, 1, 1, tzinfo=UTC).timestamp()


def test_where_timesyncd_runs_its_mark_decides(tmp_path: Path) -> None:
    assert not clock_is_synced(tmp_path, NOW), "yesterday's saved time is a plausible date, too"
    (tmp_path / "synchronized").touch()
    assert clock_is_synced(tmp_path, NOW)


def test_elsewhere_a_date_that_can_be_is_believed(tmp_path: Path) -> None:
    nowhere = tmp_path / "no-timesyncd"
    assert clock_is_synced(nowhere, NOW)
    assert not clock_is_synced(nowhere, WITHOUT_BATTERY)
