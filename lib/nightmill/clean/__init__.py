"""Bronze -> silver and quarantine: typed, in range, one row per key; parsed = accepted + refused + duplicates."""

from nightmill.clean.accounting import Counts
from nightmill.clean.stage import Cleaned, clean

__all__ = ["Cleaned", "Counts", "clean"]
