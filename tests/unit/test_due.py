"""What is due for a night: told by tables and registry alone."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from town import found

from nightmill import due
from nightmill.errors import DataRefused
from nightmill.lake.lease import Lease
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake

TRAINED = date(2026, 3, 4)


class Models:
    """A registry with one version, trained with data up to TRAINED."""

    damaged = False

    def candidate(self, _: str) -> int | None:
        return 1

    champion = candidate

    def load(self, use_case: str, version: int) -> dict[str, bytes]:
        if self.damaged:
            raise DataRefused("version 1 has a damaged file")
        last = datetime(TRAINED.year, TRAINED.month, TRAINED.day, 12, tzinfo=UTC).timestamp() * 1_000_000
        return {"model.json": json.dumps({"gold": {"last": last, "version": 3}}).encode()}


@pytest.fixture
def why(tmp_path: Path) -> Any:
    """Asks why a training of town/speeds is due for the night some days after the last."""
    (tmp_path / "town").mkdir()
    configuration = found(tmp_path / "town").configuration()
    use_case = configuration.use_case("town/speeds")
    time = configuration.inputs(use_case)["speed"].contract.time
    lake, models = Lake.open(str(tmp_path / "lake")), Models()

    def ask(days: int) -> str:
        return due.training(lake, use_case, time, models, TRAINED + timedelta(days=days))  # type: ignore[arg-type]

    ask.lake, ask.models = lake, models  # type: ignore[attr-defined]
    return ask


def _raise(lake: Lake, kind: str, night: date) -> None:
    step = Step(lake, f"run-{night}", "monitor", "town/speeds", Lease(lake, "x", "run", timedelta(minutes=1)))
    row = {"subject": "town/speeds", "kind": kind, "slice": "", "state": "raised", "value": 2.0, "limit": 1.5}
    step.alarms([row | {"what": "twice what is usual", "since": night, "calm": 0, "day": night}])


def test_a_model_is_due_by_the_calendar(why: Any) -> None:
    assert why(6) == ""
    assert why(7) == "it is trained weekly, the last time with data up to 2026-03-04"


def test_an_alarm_about_error_or_drift_makes_a_model_due_once(why: Any) -> None:
    _raise(why.lake, "late", TRAINED + timedelta(days=2))
    assert why(3) == "", "a late drop is nothing that a model could end"
    _raise(why.lake, "error", TRAINED)
    assert why(3) == "", "what was known then is in the model"
    _raise(why.lake, "drift", TRAINED + timedelta(days=2))
    assert why(2) == "", "the night that raised it has trained already, or not"
    assert why(3) == "the night of 2026-03-06 raised an alarm: drift: twice what is usual"


def test_a_model_that_cannot_be_used_makes_another_due(why: Any) -> None:
    why.models.damaged = True
    assert why(1) == "its champion cannot be used: version 1 has a damaged file"
    why.models.candidate = lambda _: None
    assert why(1) == "it has no model yet"
