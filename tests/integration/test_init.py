"""What `nightmill init` wrote runs as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from parking import written

from nightmill import commands
from nightmill.commands import Work
from nightmill.config import Configuration
from nightmill.init import propose

pytestmark = pytest.mark.usefixtures("spark")


def test_a_proposal_lands_cleans_and_becomes_features(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    (conf / "env").mkdir(parents=True)
    (conf / "env" / "local.yaml").write_text("lake: lake\n")
    (tmp_path / "raw").mkdir()
    propose(conf, "city/parking", written(tmp_path / "raw" / "parking.csv"))
    configuration = Configuration.load(conf, raw=str(tmp_path / "raw"), lake=str(tmp_path / "lake"))
    for stage in (commands.land, commands.clean, commands.features):
        outcome = stage(Work(configuration, stage.__name__), ["city/parking"])
        assert not outcome.failures
        if stage is commands.clean:
            total = outcome.results["data/city/parking"].total()
            assert (total.parsed, total.accepted) == (216, 216), "a proposal refuses nothing of what it was made from"
    gold = Work(configuration, "x").lake.table("gold", "city/parking").delta().to_pyarrow_table()
    assert gold.num_rows == 216


HOURS = range(60)
ISO = [f"2026-03-0{1 + h // 24}T{h % 24:02d}:00:00" for h in HOURS]
LINES = {
    "german": ("Zeit;Ort;Wert [°C]", lambda h: f"01.03.2026 {h % 24:02d}:30;o{h // 24};-{h % 7},6{h % 10}"),
    "epoch": ("time,level", lambda h: f"{1_780_000_000 + 900 * h},{h % 9}.5"),
    "american": ("When,level", lambda h: f"03/0{1 + h // 12}/2026 {h % 12 or 12}:00 PM,{h % 9}.5"),
    "huge": ("ts,v", lambda h: f"{ISO[h]},{10**20 + h}"),
    "one_sensor": ("ts,sensor,v", lambda h: f"{ISO[h]},s1,{h % 9}.5"),
    "truth": ("ts,open,v", lambda h: f"{ISO[h]},{'true' if h % 3 else 'false'},{h % 9}.5"),
}
FILES = {name: "\n".join([head, *map(line, HOURS)]) + "\n" for name, (head, line) in LINES.items()}


@pytest.mark.slow
def test_odd_files_are_proposed_so_that_all_their_records_are_accepted(tmp_path: Path) -> None:
    conf, raw = tmp_path / "conf", tmp_path / "raw"
    (conf / "env").mkdir(parents=True)
    (conf / "env" / "local.yaml").write_text("lake: lake\n")
    raw.mkdir()
    for name, text in FILES.items():
        (raw / f"{name}.csv").write_text(text)
        propose(conf, f"city/{name}", raw / f"{name}.csv")
    configuration = Configuration.load(conf, raw=str(raw), lake=str(tmp_path / "lake"))
    targets = [f"data/city/{name}" for name in FILES]
    for stage in (commands.land, commands.clean):
        outcome = stage(Work(configuration, stage.__name__), targets)
        assert not outcome.failures
    accepted = {name: outcome.results[f"data/city/{name}"].total().accepted for name in FILES}
    assert accepted == dict.fromkeys(FILES, len(HOURS))
    columns = {name: configuration.data_set(f"data/city/{name}").contract.columns for name in FILES}
    assert columns["german"]["wert"].type == "float" and columns["german"]["wert"].unit == "°C"
    assert columns["truth"]["open"].type == "bool" and columns["huge"]["v"].type == "float"
    assert configuration.data_set("data/city/one_sensor").contract.key == ["sensor", "ts"]
    assert columns["one_sensor"]["sensor"].one_of is None
