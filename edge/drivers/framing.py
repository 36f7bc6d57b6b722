"""What all wire codecs share: the shape of a decoder and the buffer in front of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class Discarded:
    """Bytes that are no message; ``reason`` is the name of the counter for it."""

    reason: str
    size: int
    """How many bytes were thrown away."""


class Reassembler(Generic[Message]):
    """Cuts a byte stream into messages, however it arrives; never raises, never grows.

    ``decode(data)`` is pure and returns ``(used, message)``: 0 and ``None`` for "need more", else
    how many bytes are done with and what they were. It skips garbage by itself, as ``Discarded``.
    """

    def __init__(
        self, decode: Callable[[bytes], tuple[int, Message | Discarded | None]], limit: int
    ) -> None:
        """``limit``: bytes of the longest message; more than that unfinished is thrown away."""
        self._decode = decode
        self._limit = limit
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Message | Discarded]:
        """Take bytes, give what they complete, in order. To be iterated to its end."""
        self._buffer += data
        while self._buffer:
            used, message = self._decode(self._buffer)
            if used == 0 and len(self._buffer) <= self._limit:
                return
            if used == 0:
                used, message = 1, Discarded("bytes_garbage", 1)
            self._buffer = self._buffer[used:]
            if message is not None:
                yield message

    def pending(self) -> int:
        """Bytes that wait for their rest."""
        return len(self._buffer)
