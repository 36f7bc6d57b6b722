"""Fresh ULIDs: 48 bits of Unix milliseconds and 80 random bits in Crockford's base 32.

Source: the ULID specification (github.com/ulid/spec). Uniqueness rests on the random bits alone, so
a clock that stands in 1970 does no harm.
"""

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
_TIME_MASK = (1 << 48) - 1


def new_ulid() -> str:
    """26 characters that nobody has had before."""
    milliseconds = time.time_ns() // 1_000_000 & _TIME_MASK
    number = milliseconds << 80 | int.from_bytes(os.urandom(10))
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -5, -5))
