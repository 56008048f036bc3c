"""Lands and cleans every published data set and tells what became of each record: `make land-all`."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from pathlib import Path

from nightmill import commands, provenance
from nightmill.clean import Cleaned, Counts
from nightmill.commands import Work
from nightmill.config import Configuration, DataSet
from nightmill.lake.tables import Lake
from nightmill.show import series_of

HEAD = """# All published data sets, landed and cleaned

{stamp}
{records:,} records of {files:,} files in {sets} data sets, {seconds:.0f} s with the start of Spark, on one session.

| data set | files | records | accepted | refused by rule | duplicates | changed | rows in silver | missing steps | s |
|---|---|---|---|---|---|---|---|---|---|
"""


def published(configuration: Configuration, raw: Path) -> list[DataSet]:
    """Data sets whose files lie in the folder."""
    sets = [configuration.data_set(name) for name in configuration.data_set_names()]
    folders = {f"{p.parent.name}/{p.name}" for p in raw.glob("*/*") if p.is_dir()}
    return [s for s in sets if not s.source.by_day and "/".join(s.source.path.split("/")[1:3]) in folders]


def main(raw: str, lake: str, results: str) -> int:
    """Writes the table; returns 1 where a record is lost or a data set is refused."""
    started = time.monotonic()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.CRITICAL)
    logging.getLogger("nightmill").setLevel(logging.INFO)
    shutil.rmtree(lake, ignore_errors=True)
    configuration = Configuration.load(raw=raw, lake=lake)
    names = [f"data/{s.name}" for s in published(configuration, Path(raw))]
    ordered = Work(configuration, "land").data_sets(names)
    rows, failed = [], []
    files = records = 0
    for data_set in ordered:
        begun = time.monotonic()
        target = [f"data/{data_set.name}"]
        landed = commands.land(Work(configuration, "land"), target)
        cleaned = commands.clean(Work(configuration, "clean"), target) if not landed.failures else landed
        for error in cleaned.failures.values():
            failed.append(f"{data_set.name}: {error}")
            break
        else:
            found, result = landed.results[target[0]], cleaned.results[target[0]]
            files, records = files + found.files, records + result.total().parsed
            rows.append(_row(Lake.open(lake), data_set, found.files, result, time.monotonic() - begun))
    head = HEAD.format(
        stamp=provenance.stamp(),
        records=records,
        files=files,
        sets=len(rows),
        seconds=time.monotonic() - started,
    )
    text = head + "".join(rows) + ("\n" + "\n".join(failed) + "\n" if failed else "")
    Path(results).mkdir(parents=True, exist_ok=True)
    (Path(results) / "land-all.md").write_text(text, encoding="utf-8")
    print(text)
    return 1 if failed else 0


def _row(lake: Lake, data_set: DataSet, files: int, cleaned: Cleaned, seconds: float) -> str:
    total: Counts = cleaned.total()
    refused = ", ".join(f"{rule} {n:,}" for rule, n in total.refused.most_common()) or "0"
    changed = ", ".join(f"{what} {n:,}" for what, n in total.changed.most_common()) or "0"
    assert total.parsed == total.accepted + sum(total.refused.values()) + total.duplicates
    series = series_of(lake.table("silver", data_set.name), data_set)
    missing = f"{series.missing:,}" if series.regular else "events"
    cells = [f"{n:,}" for n in (files, total.parsed, total.accepted)] + [refused, f"{total.duplicates:,}", changed]
    return f"| {data_set.name} | {' | '.join(cells)} | {series.rows:,} | {missing} | {seconds:.1f} |\n"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
