"""The centre's page while something behind it fails."""

import sqlite3

import aiohttp

from cloud_sync.web import PageSettings, ServiceHealth, serve
from simulator.ports import free_ports

SETTINGS = PageSettings(websocket_port=9001, websocket_url=None, username="u", password="p")


async def test_a_database_that_can_not_be_read_is_said_by_healthz() -> None:
    async def health() -> ServiceHealth:
        raise sqlite3.OperationalError("disk I/O error")

    port = free_ports(0)[0]
    async with (
        serve("127.0.0.1", port, SETTINGS, health),
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/healthz") as response,
    ):
        assert response.status == 503
        assert await response.json() == {"database": "disk I/O error"}
