"""The systems of the city and its plants: which data sets each fills, and how large it is unless told."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import SparkSession

from nightmill.errors import ConfigError
from nightmill.simulate import (
    air,
    bikes,
    calls,
    energy,
    lights,
    line,
    machines,
    maps,
    meters,
    moulding,
    noise,
    river,
    roads,
    spare_parts,
    traffic,
    water,
    weather,
)
from nightmill.simulate.chance import Chance
from nightmill.simulate.drops import Drops, Master

Daily = Callable[[SparkSession, date, int, int, Chance], Drops]
Static = Callable[[SparkSession, int, Chance], Master]


@dataclass(frozen=True)
class System:
    """What one size belongs to."""

    size: int
    """How many there are unless told: detectors, stations, gauges, sensors, districts, lamps, lines, presses, parts,
    meters, machines; of calls the expected number a day."""
    daily: Mapping[str, Daily]
    """Data sets with a drop a day."""
    static: Mapping[str, Static] = field(default_factory=dict)
    """Tables without days."""


SYSTEMS: dict[str, System] = {
    "traffic": System(40, {traffic.NAME: traffic.drops}, {roads.NAME: roads.graph, maps.DETECTORS: maps.detectors}),
    "weather": System(1, {weather.NAME: weather.drops}),
    "air": System(12, {air.NAME: air.drops}),
    "noise": System(20, {noise.NAME: noise.drops}),
    "river": System(8, {river.NAME: river.drops}),
    "water": System(30, {water.NAME: water.drops}),
    "energy": System(10, {energy.NAME: energy.drops}),
    "calls": System(200, {calls.NAME: calls.drops}),
    "bikes": System(30, {bikes.NAME: bikes.drops}),
    "lights": System(100, {lights.NAME: lights.drops}, {lights.LAMPS: lights.lamps}),
    "machines": System(
        40,
        {machines.READINGS: machines.reading_drops, machines.FAILURES: machines.failure_drops},
        {maps.FLOOR: maps.floor},
    ),
    "line": System(2, {line.NAME: line.drops}),
    "moulding": System(20, {moulding.NAME: moulding.drops}),
    "spare_parts": System(100, {spare_parts.NAME: spare_parts.drops}),
    "meters": System(10, {meters.NAME: meters.drops}),
}
"""By the name that `sizes` and --size use."""
DATA_SETS: tuple[str, ...] = tuple(name for system in SYSTEMS.values() for name in (*system.static, *system.daily))
"""All that can be simulated."""


def chosen(only: Sequence[str]) -> list[str]:
    """The data sets of these names or domains (city, factory), in the order of DATA_SETS; all for none or `all`.

    Raises ConfigError for an unknown name.
    """
    domains = sorted({name.partition("/")[0] for name in DATA_SETS})
    wanted: set[str] = set()
    for asked in only or ["all"]:
        plain = asked.removeprefix("data/").rstrip("/")
        found = [name for name in DATA_SETS if plain in ("all", name, name.partition("/")[0])]
        if not found:
            fix = _nearest(plain, [*DATA_SETS, *domains])
            raise ConfigError(f"there is no simulated data set '{asked}'", where=asked, fix=fix)
        wanted |= set(found)
    return [name for name in DATA_SETS if name in wanted]


def sized(sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of every system; raises ConfigError for an unknown system and for a size below 1."""
    for name, size in sizes.items():
        where = f"--size {name}={size}"
        if name not in SYSTEMS:
            raise ConfigError(f"there is no simulated system '{name}'", where=where, fix=_nearest(name, list(SYSTEMS)))
        if size < 1:
            raise ConfigError(f"{name} is {size}: a simulation needs at least one", where=where)
    return {name: sizes.get(name, system.size) for name, system in SYSTEMS.items()}


def parse_sizes(items: Sequence[str]) -> dict[str, int]:
    """`traffic=1000` texts as sizes; raises ConfigError for what is not NAME=NUMBER."""
    found = {}
    for item in items:
        name, _, number = item.partition("=")
        if not number.strip().isdecimal():
            raise ConfigError(f"--size {item}: expected SYSTEM=NUMBER", where="--size", fix="as in --size traffic=1000")
        found[name.strip()] = int(number)
    return found


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
