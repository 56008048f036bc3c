"""A data set: one kind of raw data, where its files lie, and what they must look like."""

from __future__ import annotations

from datetime import timedelta

from nightmill.config.cleaning import Clean
from nightmill.config.contract import Contract, Time
from nightmill.config.monitor import Watched
from nightmill.config.source import Source
from nightmill.config.values import Options


class Place(Options):
    """Columns that say where each entity is: the report draws a map of the city, or a floor plan of the plant."""

    x: str
    """Column of the way east: km, m or degrees of longitude."""
    y: str
    """Column of the way north in the unit of x, or degrees of latitude."""
    area: str | None = None
    """Column of what a place is part of: a district, a hall."""


class DataSet(Options):
    """One kind of raw data and what it must look like."""

    name: str = ""
    """Set from the file's place: conf/data/city/traffic.yaml is city/traffic."""
    title: str
    """One line for people."""
    source: Source
    """Where the files lie and how they are written."""
    contract: Contract
    """What silver promises."""
    clean: Clean = Clean()
    """From bronze to silver."""
    monitor: Watched = Watched()
    """What is an alarm."""
    place: Place | None = None
    """Where each entity is."""

    @property
    def clock(self) -> Time:
        """The contract's time; of a data set without one, rows that all lie on one day, none after the other."""
        return self.contract.time or Time(column="ts", every=timedelta(days=1))

    @property
    def cell(self) -> str | None:
        """The entity column that the grid of events gives; no raw record has it."""
        return self.clean.events.grid.entity if self.clean.events and self.clean.events.grid else None

    @property
    def kept(self) -> list[str]:
        """Columns of one clean record beside `ts` and those of Nightmill's own: the key's, then the contract's."""
        return [name for name in self.contract.kept if name != self.cell]

    @property
    def recorded(self) -> dict[str, tuple[str, ...]]:
        """What each raw record must give: name -> the bronze columns of which one is needed."""
        return {name: raw for name, raw in self.contract.recorded.items() if name != self.cell}
