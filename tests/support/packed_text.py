"""Decodes the page's packed numbers, following the definition of Base64 VLQ."""

from __future__ import annotations

import string

DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def unpacked(text: str) -> list[int | None]:
    """The numbers of one row."""
    found: list[int | None] = []
    last, bits = 0, ""
    for character in text:
        if character == ".":
            found.append(None)
            continue
        digit = f"{DIGITS.index(character):06b}"
        bits = digit[1:] + bits
        if digit[0] == "0":
            last += (-1 if bits[-1] == "1" else 1) * int(bits[:-1], 2)
            found.append(last)
            bits = ""
    assert not bits, "a number without its end"
    return found


def seed_values(entry: str | list[float | None]) -> list[float | None]:
    """A metric's value for every seed, from an entry of the page's data."""
    if not isinstance(entry, str):
        return entry
    return [None if whole is None else whole / 1000 for whole in unpacked(entry)]
