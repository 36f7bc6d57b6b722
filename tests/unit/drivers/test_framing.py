from edge.drivers.framing import Discarded, Reassembler


def never_satisfied(data: bytes) -> tuple[int, str | Discarded | None]:
    return 0, None


def test_a_decoder_that_waits_for_ever_does_not_grow_the_buffer() -> None:
    stream: Reassembler[str] = Reassembler(never_satisfied, limit=16)
    for _ in range(1000):
        list(stream.feed(b"x" * 100))
        assert stream.pending() <= 16
