"""Raw files -> bronze: as landed, nothing lost, each record once."""

from nightmill.ingest.land import Landed, land

__all__ = ["Landed", "land"]
