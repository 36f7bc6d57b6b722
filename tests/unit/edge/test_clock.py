"""Whether the machine's clock can be believed."""

from datetime import UTC, datetime
from pathlib import Path

from edge.clock import SystemClock, can_be, timesync_says


def test_where_timesyncd_runs_its_mark_decides(tmp_path: Path) -> None:
    assert timesync_says(tmp_path) is False
    # Yesterday's saved time is a plausible date, too.
    assert not SystemClock(timesync=tmp_path).now().synced
    (tmp_path / "synchronized").touch()
    assert timesync_says(tmp_path) is True
    assert SystemClock(timesync=tmp_path).now().synced


def test_elsewhere_a_date_that_can_be_is_believed(tmp_path: Path) -> None:
    nowhere = tmp_path / "no-timesyncd"
    assert timesync_says(nowhere) is None
    assert SystemClock(timesync=nowhere).now().synced
    assert can_be(datetime(2026, 11, 1, tzinfo=UTC))
    assert not can_be(datetime(1970, 1, 1, tzinfo=UTC))
