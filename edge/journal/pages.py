"""Rows of the events table on the bare pages of an SQLite file, for when SQLite gives it up.

Format: https://www.sqlite.org/fileformat2.html , sections 1.6 (b-tree pages), 1.7 (overflow
pages), 2.1 (records) and 4.1 (write-ahead log).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LEAF_OF_A_TABLE = 0x0D
_FILE_HEADER = 100
_WAL_HEADER = 32
_WAL_FRAME_HEADER = 24
_DEFAULT_PAGE_SIZE = 4096
_LONGEST_BODY = 1 << 20


def rows_on_pages(path: Path) -> Iterator[tuple[int, str]]:
    """(position, body) of every row that looks like an event's, in the file and in its log.

    In no order, the same one perhaps several times; nothing is verified.
    """
    with path.open("rb") as file:
        size = _page_size(file)
        file.seek(0, 2)
        for number in range(file.tell() // size):
            file.seek(number * size)
            page = file.read(size)
            yield from _rows(page, _FILE_HEADER if number == 0 else 0, file)
        log = path.with_name(path.name + "-wal")
        if log.exists():
            with log.open("rb") as frames:
                frames.seek(_WAL_HEADER)
                while len(frame := frames.read(_WAL_FRAME_HEADER + size)) > _WAL_FRAME_HEADER:
                    yield from _rows(frame[_WAL_FRAME_HEADER:], 0, file)


def _page_size(file: BinaryIO) -> int:
    """From the header; our default where that is damaged."""
    header = file.read(_FILE_HEADER)
    if len(header) == _FILE_HEADER and header.startswith(b"SQLite format 3\0"):
        size = int.from_bytes(header[16:18], "big")
        if size >= 512 and size & (size - 1) == 0:
            return size
    return _DEFAULT_PAGE_SIZE


def _rows(page: bytes, start: int, file: BinaryIO) -> Iterator[tuple[int, str]]:
    if len(page) < start + 8 or page[start] != _LEAF_OF_A_TABLE:
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    pointers = page[start + 8 : start + 8 + 2 * count]
    for (offset,) in struct.iter_unpack(">H", pointers[: len(pointers) // 2 * 2]):
        try:
            row = _row(page, offset, file)
        except (IndexError, ValueError):  # UnicodeDecodeError is a ValueError
            continue  # this cell is damaged; the next one may not be
        if row is not None:
            yield row


def _row(page: bytes, offset: int, file: BinaryIO) -> tuple[int, str] | None:
    """A cell as an event's row: a NULL (the row id stands for it) and a text."""
    length, offset = _varint(page, offset)
    position, offset = _varint(page, offset)
    if not 0 < length <= _LONGEST_BODY or not 0 < position < 2**63:
        return None
    record = _payload(page, offset, length, file)
    header_length, at = _varint(record, 0)
    first, at = _varint(record, at)
    second, at = _varint(record, at)
    if at != header_length or first != 0 or second < 13 or second % 2 == 0:
        return None
    text = record[at : at + (second - 13) // 2]
    return position, text.decode("utf-8")


def _payload(page: bytes, offset: int, length: int, file: BinaryIO) -> bytes:
    """A cell's content, with what stands on overflow pages. No page of ours has reserved bytes."""
    usable = len(page)
    if length <= usable - 35:
        return page[offset : offset + length]
    least = (usable - 12) * 32 // 255 - 23
    local = least + (length - least) % (usable - 4)
    if local > usable - 35:
        local = least
    parts = [page[offset : offset + local]]
    missing = length - local
    following = int.from_bytes(page[offset + local : offset + local + 4], "big")
    while missing > 0 and following > 0:
        file.seek((following - 1) * usable)
        overflow = file.read(usable)
        if len(overflow) < usable:
            raise ValueError("overflow page is beyond the file")
        parts.append(overflow[4 : 4 + missing])
        missing -= len(parts[-1])
        following = int.from_bytes(overflow[:4], "big")
    if missing > 0:
        raise ValueError("overflow pages end early")
    return b"".join(parts)


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """(value, offset behind it). Raises ``IndexError`` at the end of the data."""
    value = 0
    for index in range(8):
        byte = data[offset + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + index + 1
    return value << 8 | data[offset + 8], offset + 9
