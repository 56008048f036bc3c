"""The table that `make backtest` writes of several backtests."""

from pathlib import Path
from typing import Any

import pytest
from backtests import Ran, before

TABLE: dict[str, Any] = {
    "seeds": [0, 1],
    "date": "2026-11-24",
    "commit": "abc",
    "stress": {"noise of 0 dB": [0.5, 0.7]},
    "rows": [
        {"of": "model", "metric": "mae", "horizon": None, "values": [8.0, 9.0]},
        {"of": "last_value", "metric": "mae", "horizon": None, "values": [21.0]},
        {"of": "mean", "metric": "mae", "horizon": None, "values": [10.0]},
        {"of": "model", "metric": "f1", "horizon": 3, "values": [0.9, 0.9]},
    ],
}
RAN = Ran("factory/x", TABLE, 61.4, 2048.2)


def cells(asked: dict[str, Any]) -> list[str]:
    (row,) = RAN.rows([asked])
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def test_a_row_says_what_was_asked_and_what_was_seen() -> None:
    row = cells({"metric": "mae", "floor": 8.8, "goal": 8.3, "published": "9.1"})
    assert row == [
        "factory/x", "mae", "8.5", "1", "10 (mean)", "9.1", "8.8", "8.3", "2", "61", "2048", "2026-11-24, abc",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "floor", "goal"),
    [
        ({"metric": "mae", "floor": 8.4, "goal": 8.3}, "8.4 **missed**", "8.3"),
        ({"metric": "mae", "floor": 8.6, "goal": 8.5}, "8.6", "8.5 reached"),
        ({"metric": "f1", "at": 3, "floor": 0.95}, "0.95 **missed**", ""),
        ({"metric": "f1", "at": 3, "floor": 0.8, "goal": 0.85}, "0.8", "0.85 reached"),
        ({"metric": "f1", "inputs": "noise of 0 dB", "floor": 0.65}, "0.65 **missed**", ""),
    ],
)
def test_floors_and_goals_are_held_to_the_mean_of_the_seeds(asked: dict[str, Any], floor: str, goal: str) -> None:
    row = cells(asked)
    assert (row[6], row[7]) == (floor, goal)
    assert RAN.missed([asked]) == ("missed" in floor)


def test_what_was_not_measured_is_an_error() -> None:
    with pytest.raises(KeyError, match="rmse"):
        cells({"metric": "rmse"})


def test_lines_of_other_use_cases_are_kept(tmp_path: Path) -> None:
    page = tmp_path / "backtests.md"
    assert before(page) == {}
    lines = RAN.rows([{"metric": "mae"}, {"metric": "f1", "at": 3}])
    page.write_text("# Backtests\n\n| use case | figure |\n|---|---|\n" + "".join(lines) + "\nOn a machine.\n")
    assert before(page) == {"factory/x": lines}
