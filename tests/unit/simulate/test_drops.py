"""A drop is one file of a stable name in its day's folder, and nothing else."""

from __future__ import annotations

import gzip
import json
from datetime import date

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from nightmill.simulate.drops import Drops, Master, write, write_static

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)


@pytest.fixture
def rows(spark):
    records = [(MONDAY, 2, "b", 1.5), (TUESDAY, 3, "c", 2.5), (MONDAY, 1, "a", None)]
    return spark.createDataFrame(records, "drop date, n int, name string, value double").repartition(3)


def _tree(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_each_day_gets_one_csv_file_in_order_and_nothing_is_left_behind(spark, tmp_path, rows):
    drops = Drops("city/x", "x.csv", rows, ("name", "value"), ("n",))
    folders = write(spark, str(tmp_path), drops, [MONDAY, TUESDAY])
    assert folders == [f"{tmp_path}/city/x/2026-03-02", f"{tmp_path}/city/x/2026-03-03"]
    assert _tree(tmp_path) == {
        "city/x/2026-03-02/x.csv": "name,value\na,\nb,1.5\n",
        "city/x/2026-03-03/x.csv": "name,value\nc,2.5\n",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["city"]


def test_parquet_drops_keep_their_types(spark, tmp_path, rows):
    write(spark, str(tmp_path), Drops("x", "x.parquet", rows, ("n", "value"), ("n",)), [MONDAY])
    table = pq.read_table(tmp_path / "x" / "2026-03-02" / "x.parquet", partitioning=None)
    assert table.to_pydict() == {"n": [1, 2], "value": [None, 1.5]}


def test_json_is_an_object_a_line_with_nulls_and_columns_may_be_called_otherwise_in_the_file(spark, tmp_path, rows):
    write(spark, str(tmp_path), Drops("x", "x.json", rows, ("name", "value"), ("n",), header=("id", "v")), [MONDAY])
    assert _tree(tmp_path) == {"x/2026-03-02/x.json": '{"id":"a","v":null}\n{"id":"b","v":1.5}\n'}


def test_gz_is_whole_and_separators_are_kept(spark, tmp_path, rows):
    write(spark, str(tmp_path), Drops("x", "x.csv.gz", rows, ("name", "value"), ("n",), separator=";"), [MONDAY])
    assert gzip.decompress((tmp_path / "x/2026-03-02/x.csv.gz").read_bytes()) == b"name;value\na;\nb;1.5\n"


def test_malformed_records_have_a_field_too_few_or_too_many_or_break_off(spark, tmp_path):
    records = [(MONDAY, n, f"sensor-{n}", 1.5) for n in range(20)]
    rows = spark.createDataFrame(records, "drop date, n int, name string, value double").withColumn(
        "malformed", F.expr("n > 0")
    )
    for form in ("csv", "json"):
        write(spark, str(tmp_path), Drops(form, f"x.{form}", rows, ("n", "name", "value"), ("n",)), [MONDAY])
    header, good, *bad = (tmp_path / "csv/2026-03-02/x.csv").read_text().splitlines()
    assert (header, good) == ("n,name,value", "0,sensor-0,1.5")
    assert {len(line.split(",")) for line in bad} == {2, 4}
    good, *bad = (tmp_path / "json/2026-03-02/x.json").read_text().splitlines()
    assert json.loads(good) == {"n": 0, "name": "sensor-0", "value": 1.5}
    for line in bad:
        with pytest.raises(json.JSONDecodeError):
            json.loads(line)


def test_a_day_that_is_written_again_is_replaced_whole_and_other_days_stay(spark, tmp_path, rows):
    for day in ("2026-03-01", "2026-03-02"):
        (tmp_path / "x" / day).mkdir(parents=True)
        (tmp_path / "x" / day / "old.csv").write_text("old\n")
    write(spark, str(tmp_path), Drops("x", "x.csv", rows, ("name",), ("n",)), [MONDAY])
    assert _tree(tmp_path) == {"x/2026-03-01/old.csv": "old\n", "x/2026-03-02/x.csv": "name\na\nb\n"}


def test_a_day_without_records_is_a_header_alone(spark, tmp_path, rows):
    write(spark, str(tmp_path), Drops("x", "x.csv", rows.where("n = 3"), ("name", "value"), ("n",)), [MONDAY, TUESDAY])
    assert _tree(tmp_path) == {"x/2026-03-02/x.csv": "name,value\n", "x/2026-03-03/x.csv": "name,value\nc,2.5\n"}


def test_a_drop_corrected_by_hand_can_be_read(spark, tmp_path, rows):
    write(spark, str(tmp_path), Drops("x", "x.csv", rows, ("name",), ("n",)), [MONDAY])
    (tmp_path / "x" / "2026-03-02" / "x.csv").write_text("name\ncorrected\n")
    assert [r["name"] for r in spark.read.csv(f"{tmp_path}/x/2026-03-02", header=True).collect()] == ["corrected"]


def test_a_relative_folder_is_the_callers_not_the_jvms(spark, tmp_path, rows, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_static(spark, "raw", Master("city/x", "x.csv", rows.select("n", "name")))
    assert _tree(tmp_path) == {"raw/city/x/x.csv": "n,name\n1,a\n2,b\n3,c\n"}


def test_a_failed_write_leaves_the_old_drop_and_no_scratch(spark, tmp_path, rows):
    write(spark, str(tmp_path), Drops("x", "x.csv", rows, ("name",), ("n",)), [MONDAY])
    before = _tree(tmp_path)
    broken = rows.selectExpr("drop", "n", "raise_error('broken on purpose') AS name")
    with pytest.raises(Exception, match="broken on purpose"):
        write(spark, str(tmp_path), Drops("x", "x.csv", broken, ("name",), ("n",)), [MONDAY])
    assert _tree(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
