"""Bronze that landed under an older contract is written anew under the one of today."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nightmill.config import DataSet
from nightmill.ingest.protect import protected, require_key
from nightmill.lake.contract import record_day
from nightmill.lake.landed import landed_files, landing, note_files, unprotected
from nightmill.lake.run import Step
from nightmill.lake.tables import Table
from nightmill.lake.writes import read, replace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)


def renew(spark: SparkSession, step: Step, data_set: DataSet, bronze: Table) -> None:
    """Puts all records on their days, and protects personal columns that landed as they were delivered."""
    require_key(data_set)
    bare, files = unprotected(bronze, data_set), landed_files(step, bronze)
    rows = read(spark, bronze, step.read(bronze))
    rows = protected(data_set, rows, bare).withColumn("_record_day", record_day(data_set, rows.columns))
    note = step.note(files=len(files), **landing(data_set))
    step.wrote(bronze, replace(rows, bronze, None, note, step.lease))
    note_files(step, bronze, files, files)
    if bare:
        log.warning(
            "%s: %s protected now; older versions of the table still hold the originals until they are vacuumed",
            bronze.label,
            f"column {bare[0]} is" if len(bare) == 1 else f"columns {', '.join(bare)} are",
        )
