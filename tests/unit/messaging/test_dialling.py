"""A stop does not wait for a name server that keeps silent."""

import subprocess
import sys

PROGRAM = """
import asyncio, socket, threading
from messaging.session import MqttConfig, connect

asked = threading.Event()

def silent(*_args, **_kwargs):
    asked.set()
    threading.Event().wait()

socket.getaddrinfo = silent

async def main():
    async def dial():
        async with connect(MqttConfig(host="mqtt.example.com", port=1883, client_id="c")):
            raise AssertionError("nobody answered")

    dialling = asyncio.create_task(dial())
    await asyncio.to_thread(asked.wait)
    dialling.cancel()
    await asyncio.gather(dialling, return_exceptions=True)
    print("stopped", dialling.cancelled())

asyncio.run(main())
"""


def test_a_program_ends_while_the_name_of_its_broker_is_still_looked_up() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout == "stopped True\n", ended.stderr
    assert ended.returncode == 0, ended.stderr
