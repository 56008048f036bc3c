"""The night does what is missing, once; what fails stops what rests on it, and nothing else."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from town import FIRST, Town, readings

from nightmill import commands, nightly
from nightmill.commands import Outcome
from nightmill.errors import ConfigError, LeaseHeld
from nightmill.lake.ops import events
from nightmill.nightly import Night

pytestmark = pytest.mark.usefixtures("spark")
LAST = FIRST + timedelta(days=4)


def _night(town: Town, *days: date, targets: tuple[str, ...] = ("all",), sets: tuple[str, ...] = ()) -> Outcome:
    return nightly.nightly(town.work("nightly", *days, sets=sets), list(targets))


def _states(outcome: Outcome, day: date = LAST) -> dict[tuple[str, str], str]:
    night = outcome.results[str(day)]
    assert isinstance(night, Night)
    return {(line.stage, line.subject): line.state for line in night.lines}


def test_nights_do_what_is_missing_and_make_up_for_a_drop_that_was_late(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.history(4)
    before_last = LAST - timedelta(days=1)
    first = _night(town, before_last)
    assert not first.failures
    assert {state for (stage, _), state in _states(first, before_last).items() if stage != "monitor"} == {"done"}
    predictions = town.work("x").lake.table("predictions", "town/speeds")
    assert predictions.days_by_partition() == {before_last}, "history is no backlog of predictions"

    missing = _night(town, LAST)
    states = _states(missing)
    assert missing.exit_code == 4 and states["land", "data/town/speeds"] == "failed"
    assert states["features", "town/speeds"] == states["score", "town/speeds"] == "skipped"
    assert states["land", "data/town/roads"] == "nothing"

    town.drop(LAST, readings(LAST))
    after = LAST + timedelta(days=1)
    town.drop(after, readings(after))
    made_up = _night(town, after)
    assert not made_up.failures
    assert predictions.days_by_partition() == {before_last, LAST, after}
    states = _states(made_up, after)
    assert ("train", "town/speeds") not in states, "it is trained weekly"
    assert states["evaluate", "town/speeds"] == "nothing"

    told = len(events(town.work("x").lake, "runs"))
    monkeypatch.setattr(commands, "session", lambda _: pytest.fail("Spark was started"))
    again = _night(town, after)
    assert again.results[str(after)].idle and not again.failures
    assert len(events(town.work("x").lake, "runs")) == told, "a night without work leaves no trace"


def test_a_night_has_a_day_and_is_alone_in_its_lake(town: Town) -> None:
    town.history(1)
    with pytest.raises(ConfigError, match="a night has a day"):
        _night(town)
    with town.work("nightly").step("nightly", "nightly"), pytest.raises(LeaseHeld, match="being worked on"):
        _night(town, FIRST)


def test_a_system_that_is_not_in_use_is_left_out_and_a_broken_one_stops_no_other(town: Town) -> None:
    conf = town.folder / "conf"
    for name in ("idle", "broken"):
        text = (conf / "data/town/speeds.yaml").read_text().replace("/speeds/", f"/{name}/")
        (conf / f"data/town/{name}.yaml").write_text(text)
        (conf / f"town/{name}.yaml").write_text(
            (conf / "town/speeds.yaml").read_text().replace("/speeds,", f"/{name},")
        )
    town.history(1)
    (town.raw / "broken" / str(FIRST)).mkdir(parents=True)
    (town.raw / "broken" / str(FIRST) / "a.csv").write_text("nothing,of,this\n1,2,3\n")
    sets = ("train.due=monthly",)
    outcome = _night(town, FIRST, sets=sets)
    states = _states(outcome, FIRST)
    assert not any("idle" in subject for _, subject in states)
    assert states["land", "data/town/broken"] == "failed" and states["score", "town/broken"] == "skipped"
    assert states["features", "town/speeds"] == "done"
