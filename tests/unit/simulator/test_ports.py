import socket
from pathlib import Path

import pytest

from simulator import ports
from simulator.ports import free_ports


def ephemeral(monkeypatch: pytest.MonkeyPatch, directory: Path, text: str) -> None:
    path = directory / "ip_local_port_range"
    path.write_text(text, encoding="ascii")
    monkeypatch.setattr(ports, "EPHEMERAL_RANGE", path)


def test_no_port_is_one_that_the_kernel_gives_away_by_itself() -> None:
    first, last = map(int, ports.EPHEMERAL_RANGE.read_text(encoding="ascii").split())
    found = free_ports(*[0] * 50)
    assert len(set(found)) == 50
    assert not [port for port in found if first <= port <= last]


def test_a_wish_is_granted_where_the_port_is_free_and_else_another_is_found() -> None:
    (wish,) = free_ports(0)
    assert free_ports(wish) == [wish]
    with socket.create_server(("127.0.0.1", wish)):
        (other,) = free_ports(wish)
    assert other != wish
    assert free_ports(wish, wish) != [wish, wish]


def test_the_last_free_port_outside_the_range_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken, free = free_ports(0, 0)
    monkeypatch.setattr(ports, "_ports_not_given_away", lambda: [taken, free])
    with socket.create_server(("127.0.0.1", taken)):
        assert free_ports(0) == [free]


def test_where_the_kernel_may_give_away_every_port_one_of_those_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ephemeral(monkeypatch, tmp_path, "1024\t65535\n")
    assert len(set(free_ports(0, 0, 0))) == 3
