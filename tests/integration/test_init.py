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
