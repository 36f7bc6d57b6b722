"""A whole hall whose journal is an old copy that was put back on the same day."""

import re
import shutil
from pathlib import Path

from messaging.broker import Role
from tests.support.broker import running_broker
from tests.support.centre import running_centre
from tests.support.real_hall import RealHall, real_hall, until

USERS = {
    "riverside": ("secret-of-the-hall", Role.HALL),
    "centre": ("secret-of-the-centre", Role.CENTRE),
    "dashboards": ("looking-on", Role.DASHBOARDS),
}


async def number_of_a_paper(hall: RealHall) -> str:
    paper = await hall.take_a_number()
    (number,) = re.findall(r"\bA\d{4}\b", paper.text)
    return str(number)


async def test_no_number_comes_twice_and_no_event_is_lost_whatever_the_centre_is_doing(
    tmp_path: Path,
) -> None:
    password = tmp_path / "password"
    password.write_text("secret-of-the-hall\n", encoding="utf-8")
    async with running_broker(tmp_path / "broker", USERS) as broker:
        uplink = (
            f'[uplink]\nhost = "127.0.0.1"\nport = {broker.port}\npassword_file = "{password}"\n'
        )
        async with (
            running_centre(tmp_path / "centre", broker) as centre,
            real_hall(tmp_path, extra=uplink) as hall,
        ):
            copy = tmp_path / "copy.db"
            await hall.start()
            numbers = [await number_of_a_paper(hall)]
            await hall.stop()
            shutil.copyfile(hall.journal, copy)
            await hall.start()
            numbers += [await number_of_a_paper(hall) for _ in range(2)]
            first, behind_the_copy = hall.at()
            await until(lambda: len(centre.seqs("riverside", first)) == behind_the_copy)
            await hall.stop()

            await centre.stop()
            await broker.stop()
            shutil.copyfile(copy, hall.journal)
            await hall.start()
            numbers += [await number_of_a_paper(hall) for _ in range(3)]
            assert len(set(numbers)) == 6
            assert "an old copy that was put back" in hall.log.read_text(encoding="utf-8")

            await broker.start()
            await centre.start()
            second, head = hall.at()
            assert second != first
            await until(lambda: len(centre.seqs("riverside", second)) >= head)
            assert len(centre.seqs("riverside", first)) == behind_the_copy, "as they were"
