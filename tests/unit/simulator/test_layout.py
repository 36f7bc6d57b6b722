"""The demo's files, as the daemon and the centre read them."""

from pathlib import Path

import pytest

from cloud_sync.config import load as load_sync
from edge.config import load as load_hall
from simulator import layout
from simulator.layout import Places, Wiring


def places(tmp_path: Path, count: int) -> Places:
    return Places(tmp_path, tmp_path, layout.windows(count))


def wiring(where: Places) -> Wiring:
    return Wiring(
        printer="socket://127.0.0.1:19100",
        pigpio="127.0.0.1:18888",
        buses={window.bus: f"/dev/pts/{window.bus}" for window in where.windows},
        screens={window.number: f"/dev/pts/{window.screen}" for window in where.windows},
        broker_port=11883,
    )


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 40])
@pytest.mark.parametrize("speed", [1.0, 60.0, 120.0])
def test_the_hall_that_is_written_is_a_good_hall(tmp_path: Path, count: int, speed: float) -> None:
    where = places(tmp_path, count)
    password = tmp_path / "password"
    password.write_text("secret\n")
    text = layout.hall_toml(
        where,
        wiring(where),
        speed=speed,
        username=layout.HALL,
        password_file=password,
        protocol=5,
    )
    where.hall_config.write_text(text, encoding="utf-8")
    config = load_hall(where.hall_config)
    assert sorted(config.windows) == list(range(1, count + 1))
    assert len(config.devices) == 2 + 3 * count
    assert any(window.skills == "all" for window in config.windows.values())


def test_the_centre_that_is_written_is_a_good_centre(tmp_path: Path) -> None:
    where = places(tmp_path, 6)
    password = tmp_path / "password"
    password.write_text("secret\n")
    text = layout.sync_toml(
        where,
        broker_port=11883,
        websocket_port=19001,
        password_file=password,
        dashboards_password_file=password,
        protocol=311,
        page_port=18090,
    )
    where.sync_config.write_text(text, encoding="utf-8")
    assert load_sync(where.sync_config).mqtt.port == 11883


def test_no_hall_has_no_window_and_none_has_a_thousand() -> None:
    for count in (0, layout.MAX_WINDOWS + 1):
        with pytest.raises(ValueError, match="windows"):
            layout.windows(count)


def test_a_key_that_goes_back_and_forth_says_both_of_what_it_does() -> None:
    assert layout.KEY_NAMES["sign_on"] == {"zh": "签到/签退", "en": "Sign on/off"}
