"""A day that is scored late gets the champion of its own night."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightmill.config.contract import Time
from nightmill.errors import WorkFailed
from nightmill.lake.ops import append
from nightmill.lake.tables import Lake
from nightmill.score.stage import champion_of

USE_CASE: Any = SimpleNamespace(name="city/traffic")
TIME = Time(column="ts", every=timedelta(minutes=5), zone="Europe/Berlin")


def _chosen(lake: Lake, day: date | None, current: int | None = 9) -> int:
    registry: Any = SimpleNamespace(champion=lambda _: current)
    return champion_of(lake, USE_CASE, registry, TIME, day)


def _promoted(lake: Lake, version: int, at: datetime, night: date | None) -> None:
    base = {"run_id": f"r{version}", "step": "evaluate", "subject": USE_CASE.name, "event": "promoted", "at": at}
    append(lake, "promotions", [base | {"model_version": version, "reason": "better", "night": night}])


def test_nights_of_a_backfill_promote_for_their_own_days_however_late_they_ran(tmp_path: Path) -> None:
    lake, ran = Lake.open(str(tmp_path / "lake"), create=True), datetime(2026, 9, 1, 3, tzinfo=UTC)
    for version, night in ((1, date(2026, 3, 1)), (2, date(2026, 3, 8))):
        _promoted(lake, version, ran + timedelta(minutes=version), night)
    days = (date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 7), date(2026, 3, 8), date(2026, 12, 1), None)
    assert [_chosen(lake, day) for day in days] == [9, 1, 1, 2, 2, 9]


def test_a_promotion_by_hand_holds_from_the_night_that_followed_it(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    _promoted(lake, 3, datetime(2026, 3, 9, 22, 59, tzinfo=UTC), None)  # 23:59 in Berlin, before the night of the 9th
    assert [_chosen(lake, date(2026, 3, day)) for day in (7, 8, 9)] == [9, 3, 3]


def test_without_a_champion_nothing_is_scored(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="has no champion model"):
        _chosen(Lake.open(str(tmp_path / "lake"), create=True), None, current=None)
