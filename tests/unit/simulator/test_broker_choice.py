"""Which broker a demo finds, and what it says where there is none."""

from pathlib import Path

import pytest

from simulator import broker
from simulator.broker import NoBroker, installed, plan_broker


@pytest.fixture
def no_mosquitto(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(broker, "SERVER_PATHS", str(tmp_path))


def test_mosquitto_is_taken_before_those_from_pypi() -> None:
    assert installed() == ["mosquitto", "iotcore", "amqtt"], "make test brings all three"


@pytest.mark.usefixtures("no_mosquitto")
def test_without_mosquitto_the_one_from_pypi_is_taken_and_named(tmp_path: Path) -> None:
    plan = plan_broker(tmp_path / "broker", hall="east-gate", port=10_883, websocket_port=10_884)
    assert plan.kind == "iotcore"
    assert "iotcore" in plan.description
    assert (plan.port, plan.websocket_port, plan.protocol) == (10_883, 10_884, 5)


@pytest.mark.usefixtures("no_mosquitto")
def test_the_one_that_was_asked_for_and_is_not_there_is_told_how_to_get(tmp_path: Path) -> None:
    with pytest.raises(NoBroker, match=r"no mosquitto on this machine.*apt-get install mosquitto"):
        plan_broker(
            tmp_path / "broker", hall="east-gate", port=1, websocket_port=2, kind="mosquitto"
        )
    assert not (tmp_path / "broker").exists(), "nothing is left behind"
