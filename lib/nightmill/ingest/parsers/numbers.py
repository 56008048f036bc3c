"""Text files of whole numbers."""

from __future__ import annotations


def whole_numbers(content: bytes) -> list[list[int]]:
    """The numbers of each line that has any; lines that begin with # are remarks. Raises ValueError for other text."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"not a text: {error.reason} at byte {error.start}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                row = [int(word) for word in line.split()]
            except ValueError:
                raise ValueError(
                    f"line {number} has something else than whole numbers: '{line.strip()[:60]}'"
                ) from None
            if any(abs(value) >= 2**63 for value in row):
                raise ValueError(f"line {number} has a number of more than 64 bits: '{line.strip()[:60]}'")
            found.append(row)
    return found
