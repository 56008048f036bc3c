"""Arguments become exit codes and messages; no stack trace reaches a user who did not ask for it."""

import io
import json
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from nightmill import migrate, tables
from nightmill.cli import main, parse_days
from nightmill.commands import Outcome
from nightmill.errors import ConfigError, DataRefused, LeaseHeld


def test_no_failure_is_code_0_and_one_reason_is_its_own_code() -> None:
    refused, held = DataRefused("x"), LeaseHeld("y")
    assert Outcome({"a": 1}).exit_code == 0
    assert Outcome({}, {"a": refused}).exit_code == 3
    assert Outcome({}, {"a": refused, "b": refused}).exit_code == 3
    assert Outcome({}, {"a": refused, "b": held}).exit_code == 4
    assert Outcome({"c": 1}, {"a": refused}).exit_code == 4


def test_days_are_read_oldest_first() -> None:
    assert parse_days("2026-03-01", None, None) == [date(2026, 3, 1)]
    assert parse_days(None, "2026-02-27", "2026-03-01") == [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1)]
    assert parse_days(None, None, None) == []


@pytest.mark.parametrize(
    ("day", "first", "last", "what"),
    [
        ("2026-02-30", None, None, "not a day of the calendar"),
        ("yesterday", None, None, "not a day of the calendar"),
        ("2026-03-01", "2026-03-01", None, "exclude each other"),
        (None, "2026-03-01", None, "go together"),
        (None, "2026-03-02", "2026-03-01", "lies before"),
    ],
)
def test_impossible_days_are_refused(day: str | None, first: str | None, last: str | None, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        parse_days(day, first, last)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["lnad", "all"], "No such command 'lnad'"),
        (["land"], "Missing argument"),
        (["land", "city/trafic_los_loop"], "did you mean 'city/traffic_los_loop'"),
        (["land", "data/city/trafic"], "did you mean 'data/city/traffic'"),
        (["land", "city/traffic_los_loop"], "no folder of raw drops is given"),
        (["land", "city/traffic", "--raw", "."], "pass --day"),
        (["simulate", "city/rivers", "--day", "2026-03-01", "--raw", "."], "did you mean 'city/river'"),
        (["simulate", "--size", "trafic=3", "--day", "2026-03-01", "--raw", "."], "did you mean 'traffic'"),
        (["simulate", "--size", "traffic", "--day", "2026-03-01", "--raw", "."], "expected SYSTEM=NUMBER"),
        (["simulate", "--fault", "drift", "--day", "2026-03-01", "--raw", "."], "expected KIND=DAY"),
        (["simulate", "--fault", "drift=2026-03-02", "--day", "2026-03-01", "--raw", "."], "would not show"),
        (["train", "city/traffic", "--set", "train.epoch=3"], "did you mean 'epochs'"),
        (["train", "city/traffic", "--set", "trian.epochs=3"], "unknown key 'trian'"),
        (["train", "city/traffic", "--env", "moon"], "there is no environment 'moon'"),
        (["train", "city/traffic", "--conf", "nowhere"], "nowhere"),
        (["train", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["score", "city/traffic", "--day", "2026-02-30"], "not a day of the calendar"),
    ],
)
def test_bad_arguments_end_with_code_2_before_any_work(
    arguments: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = tmp_path / "lake"
    more = ["--lake", str(lake)] if arguments[0] in ("land", "train", "score") and len(arguments) > 1 else []
    assert main([*arguments, *more]) == 2
    shown = capsys.readouterr()
    assert what in shown.err
    assert "Traceback" not in shown.err + shown.out
    assert not lake.exists() or not any(lake.iterdir())


def test_a_bug_ends_with_code_1_and_a_hint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> Outcome:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("nightmill.commands.train", broken)
    assert main(["train", "city/traffic"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_results_are_printed_as_json_for_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome({"a": [date(2026, 3, 1)]}, {"b": DataRefused("no", where="here", fix="do")})
    monkeypatch.setattr("nightmill.commands.train", lambda *_: outcome)
    assert main(["train", "city/traffic", "--json"]) == 4
    assert json.loads(capsys.readouterr().out) == {
        "results": {"a": ["2026-03-01"]},
        "failures": {"b": {"error": "DataRefused", "what": "no", "where": "here", "fix": "do"}},
    }


def test_an_error_before_any_work_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["land", "city/trafic", "--json"]) == 2
    (failure,) = json.loads(capsys.readouterr().out)["failures"].values()
    assert (failure["error"], failure["fix"]) == ("ConfigError", "did you mean 'city/traffic'?")


@pytest.mark.parametrize(("what", "shown"), [("x/park: no", "nightmill: x/park: no"), ("no", "data/x/park: no")])
def test_a_failure_names_its_target_once(
    what: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome({}, {"data/x/park": DataRefused(what)})
    monkeypatch.setattr("nightmill.commands.clean", lambda *_: outcome)
    assert main(["clean", "data/x/park"]) == 3
    assert capsys.readouterr().err.strip().removeprefix("nightmill: ") == shown.removeprefix("nightmill: ")


def test_long_names_stay_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from nightmill.ingest import Landed

    name = "data/city/" + "traffic_" * 5
    monkeypatch.setattr("nightmill.commands.land", lambda *_: Outcome({name: Landed(name, [])}))
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["land", "x", "--json"]) == 0 and main(["land", "x"]) == 0
    table = capsys.readouterr().out.rpartition("}")[2]
    assert name in table


def test_what_migrate_did_is_a_table() -> None:
    shown = io.StringIO()
    done = [migrate.Migrated("city/air"), migrate.Migrated("city/noise", ["bronze/city/noise: written anew"])]
    tables.show(Outcome({f"data/{item.data_set}": item for item in done}), Console(file=shown, width=100))
    assert "nothing to do" in shown.getvalue() and "written anew" in shown.getvalue()
