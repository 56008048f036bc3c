"""Randomness as a pure function of (seed, what it is for, of what): no state, no order, no partitions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F


@dataclass(frozen=True)
class Chance:
    """Random columns of one seed.

    `salt` says what a number is for; `of` are the columns it belongs to. Equal arguments give equal numbers on every
    run, machine and partitioning. `of` columns must be text, int64 or timestamps: the hash tells int32 from int64.
    """

    seed: int

    def uniform(self, salt: str, *of: Column) -> Column:
        """float64, uniform in (0, 1)."""
        # 52 bits, so that bits + 0.5 is exact and neither 0 nor 1 can come out
        bits = F.shiftrightunsigned(F.xxhash64(F.lit(self.seed).cast("long"), F.lit(salt), *of), 12)
        return (bits.cast("double") + 0.5) * 2.0**-52

    def between(self, low: float, high: float, salt: str, *of: Column) -> Column:
        """float64, uniform in (low, high)."""
        return self.uniform(salt, *of) * (high - low) + low

    def normal(self, salt: str, *of: Column) -> Column:
        """float64, standard normal (Box and Muller 1958)."""
        radius = F.sqrt(F.log(self.uniform(f"{salt}/radius", *of)) * -2)
        return radius * F.cos(self.uniform(f"{salt}/angle", *of) * (2 * math.pi))

    def drift(self, salt: str, time: Column, every: float, *of: Column) -> Column:
        """float64, standard normal that moves smoothly: independent after two times `every` (in the unit of `time`).

        Value noise (Perlin 1985): normals at knots `every` apart, blended by smoothstep and rescaled to unit variance.
        Unlike an autoregression it needs no past, so any stretch of time can be computed alone.
        """
        knot = F.floor(time / every).cast("long")
        fraction = time / every - knot
        late = fraction * fraction * (F.lit(3.0) - fraction * 2)
        early = F.lit(1.0) - late
        blend = self.normal(salt, knot, *of) * early + self.normal(salt, knot + F.lit(1).cast("long"), *of) * late
        return blend / F.sqrt(early * early + late * late)
