"""Randomness as a pure function of (seed, what it is for, of what): no state, no order, no partitions."""

from __future__ import annotations

import hashlib
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

    def once(self, salt: str, *of: str) -> float:
        """A number in [0, 1) for the driver, which is a function of seed, salt and texts in the same way."""
        digest = hashlib.blake2b("/".join([str(self.seed), salt, *of]).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2.0**64

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

    def bounded_drift(self, salt: str, time: Column, every: float, *of: Column) -> Column:
        """float64 in (-1, 1), as smooth as `drift`; its slope is at most 3 / `every`."""
        knot = F.floor(time / every).cast("long")
        fraction = time / every - knot
        late = fraction * fraction * (F.lit(3.0) - fraction * 2)
        early, after = (
            self.between(-1, 1, salt, knot, *of),
            self.between(-1, 1, salt, knot + F.lit(1).cast("long"), *of),
        )
        return early + (after - early) * late

    def count(self, mean: Column, salt: str, *of: Column) -> Column:
        """int64: Poisson of that mean, by inversion below 12 (at most 40), by the rounded normal from there on."""
        uniform, normal = self.uniform(salt, *of), self.normal(f"{salt}/many", *of)
        many = F.round(F.greatest(mean + F.sqrt(mean) * normal, F.lit(0.0))).cast("long")
        return F.when(mean < _FEW, _poisson(mean, uniform)).otherwise(many)


_FEW = 12.0


def _poisson(mean: Column, uniform: Column) -> Column:
    """The number of summands of exp(-mean) mean^k / k! that stay below `uniform`, which is where it falls."""
    start = F.struct(
        F.exp(-mean).alias("term"), F.exp(-mean).alias("sum"), F.lit(0).cast("long").alias("found"), mean.alias("mean")
    )

    def further(state: Column, k: Column) -> Column:
        term = state["term"] * state["mean"] / k
        found = state["found"] + F.when(state["sum"] < uniform, 1).otherwise(0).cast("long")
        return F.struct(
            term.alias("term"), (state["sum"] + term).alias("sum"), found.alias("found"), state["mean"].alias("mean")
        )

    return F.aggregate(F.sequence(F.lit(1), F.lit(40)), start, further)["found"]
