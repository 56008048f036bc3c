from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from nightmill.errors import DataRefused
from nightmill.handoff import Pinned, pin

ROWS = [("a", 0, 1.0, 1.0), ("a", 1, 2.0, 2.0), ("b", 0, 3.0, 3.0)]
MORE = [("a", 2, 4.0, 4.0)]


def data_files(uri: str) -> list[Path]:
    return sorted(Path(uri).rglob("*.parquet"))


def test_a_pin_lists_files_and_rows_per_row_group(gold):
    uri = gold(ROWS, MORE, rows_per_group=2)
    pinned = pin(uri)
    assert (pinned.uri, pinned.version, pinned.rows) == (uri, 1, 4)
    assert sorted(file.groups for file in pinned.files) == [(1,), (2, 1)]
    assert {file.path: file.size for file in pinned.files} == {p.name: p.stat().st_size for p in data_files(uri)}


def test_an_older_version_stays_what_it_was(gold):
    uri = gold(ROWS, MORE)
    assert pin(uri, version=0).rows == 3
    assert pin(uri).rows == 4


def test_later_writes_do_not_change_a_pin(gold):
    uri = gold(ROWS)
    pinned = pin(uri)
    write_deltalake(uri, pa.table(DeltaTable(uri).to_pyarrow_table()), mode="overwrite")
    assert pinned == pin(uri, version=0)


def test_partitioned_tables_and_odd_partition_values_are_found(tmp_path):
    uri = str(tmp_path / "gold")
    write_deltalake(uri, pa.table({"entity": ["a", "b"], "city": ["Sao Paulo 50%", "x:y"]}), partition_by=["city"])
    assert [file.groups for file in pin(uri).files] == [(1,), (1,)]


def test_a_pin_survives_json_without_its_secrets(gold):
    pinned = pin(gold(ROWS, MORE), storage_options={"secret": "s3cr3t"})
    assert "s3cr3t" not in pinned.to_json() + repr(pinned)
    assert Pinned.from_json(pinned.to_json()) == pinned


@pytest.mark.parametrize("text", ["", "{}", '{"uri": "x", "version": 1, "files": [[1]]}', "[]"])
def test_other_json_is_refused(text):
    with pytest.raises(DataRefused, match="no pinned table"):
        Pinned.from_json(text)


def test_a_relative_path_is_pinned_absolutely(gold, monkeypatch):
    uri = gold(ROWS)
    monkeypatch.chdir(Path(uri).parent)
    assert pin("gold").uri == uri


def test_no_table_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    for uri in (tmp_path / "absent", tmp_path / "folder"):
        with pytest.raises(DataRefused) as refused:
            pin(str(uri))
        assert refused.value.where == str(uri) and refused.value.fix


def test_a_version_that_does_not_exist_is_refused(gold):
    with pytest.raises(DataRefused, match="version 9"):
        pin(gold(ROWS), version=9)


def test_a_vacuumed_version_is_refused_naming_the_file(gold):
    uri = gold(ROWS)
    gone = data_files(uri)[0]
    write_deltalake(uri, pa.table(DeltaTable(uri).to_pyarrow_table()), mode="overwrite")
    DeltaTable(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(DataRefused, match="gone") as refused:
        pin(uri, version=0)
    assert gone.name in refused.value.where


def test_a_truncated_file_is_refused_naming_it(gold):
    uri = gold(ROWS, MORE)
    broken = data_files(uri)[1]
    broken.write_bytes(broken.read_bytes()[:-10])
    with pytest.raises(DataRefused, match="cannot be read") as refused:
        pin(uri)
    assert broken.name in refused.value.where and refused.value.exit_code == 3


def test_column_mapping_is_refused(tmp_path):
    uri = str(tmp_path / "gold")
    write_deltalake(uri, pa.table({"entity": ["a"]}), configuration={"delta.columnMapping.mode": "name"})
    with pytest.raises(DataRefused, match="maps its columns"):
        pin(uri)


def with_protocol_of_deletion_vectors(uri: str, vector: dict[str, object] | None) -> None:
    """Commits what Spark's DELETE does: the same file again, with a deletion vector."""
    log = Path(uri, "_delta_log")
    add = next(json.loads(line)["add"] for line in (log / f"{0:020}.json").read_text().splitlines() if '"add"' in line)
    feature = ["deletionVectors"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": feature, "writerFeatures": feature}
    actions: list[dict[str, object]] = [{"protocol": protocol}]
    if vector:
        actions.append({"remove": {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}})
        actions.append({"add": {**add, "deletionVector": vector}})
    (log / f"{1:020}.json").write_text("\n".join(map(json.dumps, actions)))


def test_deletion_vectors_are_refused(gold):
    uri = gold(ROWS)
    inline = {"storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"}
    with_protocol_of_deletion_vectors(uri, {**inline, "sizeInBytes": 40, "cardinality": 1})
    with pytest.raises(DataRefused, match="deletion vectors") as refused:
        pin(uri)
    assert "PURGE" in refused.value.fix


def test_a_table_that_merely_could_have_deletion_vectors_is_read(gold):
    uri = gold(ROWS)
    with_protocol_of_deletion_vectors(uri, None)
    assert pin(uri).rows == 3


def test_an_object_store_uri_is_read_through_deltalakes_storage(gold):
    uri = gold(ROWS, MORE)
    by_path, by_uri = pin(uri), pin(f"file://{uri}")
    assert by_path.files == by_uri.files


def test_a_folder_in_place_of_a_file_is_refused(gold):
    uri = gold(ROWS)
    path = data_files(uri)[0]
    kept = path.rename(Path(uri, "kept"))
    path.mkdir()
    with pytest.raises(DataRefused, match="cannot be read"):
        pin(uri)
    shutil.rmtree(path)
    shutil.copy(kept, path)
    assert pin(uri).rows == len(ROWS)


def test_a_path_object_is_a_path(gold):
    uri = gold(ROWS)
    assert pin(Path(uri)) == pin(uri)


def test_a_version_below_0_is_refused(gold):
    with pytest.raises(DataRefused, match="versions begin with 0, and -1"):
        pin(gold(ROWS), -1)


def test_files_of_another_table_are_refused(gold):
    from deltalake.transaction import AddAction

    uri = gold(ROWS)
    table = DeltaTable(uri)
    action = AddAction("file:///elsewhere/part.parquet", 10, {}, 0, True, '{"numRecords": 1}')
    table.create_write_transaction([action], mode="append", schema=table.schema(), partition_by=[])
    with pytest.raises(DataRefused, match=r"1 files of the table belong to another one \(a shallow clone\)"):
        pin(uri)
