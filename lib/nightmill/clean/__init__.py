"""Bronze -> silver and quarantine: typed, in range, one row per key; parsed = accepted + refused + duplicates."""

from nightmill.clean.accounting import Counts
from nightmill.clean.corrections import redate, write_refused
from nightmill.clean.stage import Cleaned, Replay, clean

__all__ = ["Cleaned", "Counts", "Replay", "clean", "redate", "write_refused"]
