"""Tables of an older version, or of an older contract, become what this version and today's contract expect.

Silver and gold need no migration: they are made anew from bronze when their contract or their inputs changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nightmill.clean import redate
from nightmill.config import DataSet
from nightmill.ingest import renew
from nightmill.lake.landed import outdated, unprotected
from nightmill.lake.quarantine import forget_records, is_old, number_records
from nightmill.lake.run import Step
from nightmill.spark import Start


@dataclass
class Migrated:
    """What became of one data set's tables."""

    data_set: str
    done: list[str] = field(default_factory=list)
    """Table and what was done, as in `bronze/city/air: …`; empty where all was well."""


def migrate(start: Start, step: Step, data_set: DataSet) -> Migrated:
    """Brings bronze and quarantine up to date; a second time it finds nothing to do.

    Raises DataRefused where personal columns landed protected in another way than the contract asks for now.
    """
    result = Migrated(data_set.name)
    bronze, quarantine = (step.lake.table(layer, data_set.name) for layer in ("bronze", "quarantine"))
    if is_old(quarantine):
        step.begin()
        result.done.append(f"{quarantine.label}: {number_records(step, quarantine)} records are numbered")
    if bronze.exists() and (reasons := outdated(bronze, data_set)):
        step.begin()
        # bronze comes last: its commit says that all is done
        if unprotected(bronze, data_set):
            forgotten = forget_records(step, quarantine)
            result.done.append(f"{quarantine.label}: {forgotten} records and corrections are taken out")
        elif moved := redate(start(), step, data_set):
            result.done.append(f"{quarantine.label}: {moved} corrections are put on their days")
        renew(start(), step, data_set, bronze)
        result.done.append(f"{bronze.label}: written anew, because {'; '.join(reasons)}")
    return result
