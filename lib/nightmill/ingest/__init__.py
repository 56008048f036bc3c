"""Raw files -> bronze: as landed, nothing lost, each record once."""

from nightmill.ingest.land import Landed, land
from nightmill.ingest.renew import renew

__all__ = ["Landed", "land", "renew"]
