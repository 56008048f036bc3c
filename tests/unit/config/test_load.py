"""What a user gets wrong in a configuration folder, and what the refusal says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nightmill.config import Configuration, digest
from nightmill.errors import ConfigError

CASE, DATA = "town/traffic.yaml", "data/town/traffic.yaml"


def load(conf: Path, *sets: str) -> Configuration:
    return Configuration.load(conf, sets=sets)


def refusal(conf: Path, *sets: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        configuration = load(conf, *sets)
        configuration.inputs(configuration.use_case("town/traffic"))
    assert caught.value.exit_code == 2 and caught.value.fix
    return caught.value


def spoil(conf: Path, file: str, right: str, wrong: str) -> None:
    text = (conf / file).read_text()
    assert text.count(right) == 1
    (conf / file).write_text(text.replace(right, wrong))


def test_the_folder_is_right_before_it_is_spoilt(conf: Path) -> None:
    configuration = load(conf)
    use_case = configuration.use_case("town/traffic")
    assert (use_case.name, use_case.model.family, use_case.target.steps) == ("town/traffic", "stid", 12)
    assert [name for name in configuration.inputs(use_case)] == ["speed", "roads"]
    assert (configuration.environment.spark.master, configuration.environment.spark.memory) == ("local[2]", "1g")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "line", "near"),
    [
        (CASE, "task: forecast", "tasks: forecast", 2, "task"),
        (CASE, "  horizon: 12", "  horizont: 12", 8, "horizon"),
        (CASE, "as: graph", "has: graph", 5, "as"),
        (CASE, "over: roads", "ower: roads", 11, "over"),
        (CASE, "  - calendar:", "  - calender:", 12, "calendar"),
        (CASE, "  window: 12", "  windw: 12", 16, "window"),
        (CASE, "family: stid", "family: sitd", 14, "stid"),
        (CASE, "  epochs: 3", "  epoch: 3", 18, "epochs"),
        (CASE, "  column: speed", "  column: sped", 7, "speed"),
        (CASE, "columns: [speed]", "columns: [speeed]", 10, "speed"),
        (CASE, "of: speed", "of: spead", 11, "speed"),
        (CASE, "as: graph", "as: graph, by: slott", 5, "slot"),
        (DATA, "unit: mph", "units: mph", 9, "unit"),
        (DATA, "  time: {column", "  time: {colum", 7, "column"),
        (DATA, "  format: csv", "  formt: csv", 3, "format"),
        (CASE, "title: Speed ahead", "title: Speed ahead\nextend: other", 2, "extends"),
        (DATA, "title: Loop", "place: {x: spead, y: slot}\ntitle: Loop", 1, "speed"),
        (
            CASE,
            "graph}\n",
            "graph}\n  spots: {from: data/town/roads, as: static}\nmonitor: {by: [spots.wight]}\n",
            7,
            "weight",
        ),
    ],
)
def test_a_misspelt_name_is_refused_with_its_line_and_the_nearest(
    conf: Path, file: str, right: str, wrong: str, line: int, near: str
) -> None:
    spoil(conf, file, right, wrong)
    error = refusal(conf)
    assert error.where == f"{conf}/{file}:{line}"
    assert f"'{near}'" in error.fix


def test_a_misspelt_key_of_the_file_that_is_extended_is_found_there(conf: Path) -> None:
    spoil(conf, "base.yaml", "memory", "memori")
    error = refusal(conf)
    assert error.where == f"{(conf / 'base.yaml').resolve()}:3" and error.fix == "write 'memory'"


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("train.epoch=3", "epochs"),
        ("trian.epochs=3", "train"),
        ("model.windw=6", "window"),
        ("spark.memry=1g", "memory"),
        ("train={epoch: 3}", "epochs"),
    ],
)
def test_a_misspelt_key_of_set_is_found_there(conf: Path, option: str, near: str) -> None:
    error = refusal(conf, option)
    assert error.where == f"--set {option.partition('=')[0]}" and error.fix == f"write '{near}'"


@pytest.mark.parametrize("option", ["train.epochs", "=3", " = 3"])
def test_set_without_key_or_value_is_refused(conf: Path, option: str) -> None:
    assert "expected KEY=VALUE" in refusal(conf, option).what


@pytest.mark.parametrize(
    ("file", "right", "wrong", "line", "text"),
    [
        (CASE, "task: forecast\n", "", 1, "key 'task' is missing in the file"),
        (CASE, "  family: stid\n", "", 14, "key 'family' is missing in model"),
        (CASE, "over: roads", "", 11, "key 'over' is missing"),
        (DATA, '  path: "${raw}/{day}/*.csv"\n', "", 2, "format csv needs path"),
        (CASE, "  epochs: 3", "  epochs: three", 18, "train.epochs: Input should be a valid integer"),
        (CASE, "  epochs: 3", "  epochs: 0", 18, "greater than 0"),
        (CASE, "  epochs: 3", "  history: 60", 18, "'60' is not a duration"),
        (CASE, "  epochs: 3", "  loss: maee", 18, "train.loss: there is no 'maee'; did you mean 'mae'?"),
        (CASE, "  epochs: 3", "  loss: far off", 18, "Input should be 'mae', 'mse', 'huber', 'quantile'"),
        (CASE, "  epochs: 3", "  learning_rate: .inf", 18, "finite number"),
        (DATA, "key: [detector, ts]", "key: [detector, detector, ts]", 5, "key names 'detector' twice"),
        (CASE, "task: forecast", "task: regress", 1, "task regress is of now: leave target.horizon out"),
        (CASE, "over: roads", "over: streets", 1, "'streets' must be one of the inputs, with as: graph"),
        (DATA, "every: 5 min", "every: 5 min, zone: Europe/Atlantis", 7, "'Europe/Atlantis' is not an IANA time zone"),
        (DATA, "every: 5 min", "every: 5 min, index: step", 7, "index and start go together"),
        (DATA, "key: [detector, ts]", "key: [detector]", 5, "the time column 'ts' is missing from key"),
        (DATA, "between: [0, 120]", "between: [0]", 9, "contract.columns.speed.between needs 2 values"),
        (DATA, "  format: csv", "  format: csv\n  file_name: '('", 4, "is not a regular expression"),
        (DATA, "  format: csv", "  format: csv\n  file_name: 'a.*'", 4, "has no named group"),
        (DATA, "  format: csv", "  format: parquet\n  header: false", 2, "header is for format csv, not for parquet"),
        (DATA, "  format: csv", "  format: csv\n  columns: [a]", 2, "columns are for files without header"),
        (DATA, "  format: csv", "  format: csv\n  separator: '||'", 4, "'||' is not one character"),
        (DATA, "between: [0, 120]", "between: [120, 0]", 9, "allows nothing: write the lowest value first"),
        (DATA, "between: [0, 120]", "type: text, between: [0, 1]", 9, "between is for numbers, not for type text"),
        (DATA, "between: [0, 120]", "one_of: [slow]", 9, "one_of is for texts, not for type float"),
        (DATA, "every: 5 min", "every: 5 min, holidays: XX", 7, "'XX' names no country"),
        (DATA, "every: 5 min", "every: 5 min, holidays: US-ZZ", 7, "'US-ZZ' names no region of US"),
        (CASE, "- minute_of_week", "- holiday", 12, "holidays need a country"),
        (
            CASE,
            "- calendar:",
            "- similar_days: {of: speed, alike: [mon-sat, holiday]}\n  - calendar:",
            12,
            "holidays need",
        ),
        ("base.yaml", "memory: 1g", "memory: much", 3, "spark.memory: String should match pattern"),
    ],
)
def test_a_missing_key_or_a_wrong_value_is_refused_with_its_line(
    conf: Path, file: str, right: str, wrong: str, line: int, text: str
) -> None:
    spoil(conf, file, right, wrong)
    error = refusal(conf)
    assert text in error.what
    assert error.where in (f"{conf}/{file}:{line}", f"{(conf / file).resolve()}:{line}")


def test_all_mistakes_of_a_file_are_told_at_once(conf: Path) -> None:
    spoil(conf, CASE, "task: forecast", "tasks: forecast")
    spoil(conf, CASE, "  epochs: 3", "  epoch: 3")
    lines = refusal(conf).what.splitlines()
    assert lines == [
        f"{conf}/{CASE}:18: unknown key 'epoch' in train; did you mean 'epochs'?",
        f"{conf}/{CASE}:2: unknown key 'tasks' in the file; did you mean 'task'?",
    ]


def test_a_file_does_not_name_itself(conf: Path) -> None:
    spoil(conf, CASE, "task: forecast", "name: mine\ntask: forecast")
    assert refusal(conf).where == f"{conf}/{CASE}:2"


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        ("town/trafic", "did you mean 'town/traffic'?"),
        ("zzz", "known: town/traffic"),
        ("nowhere/x.yaml", "name a use case"),
    ],
)
def test_an_unknown_use_case_is_refused_with_the_nearest(conf: Path, wrong: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(conf).use_case(wrong)
    assert fix in caught.value.fix


def test_an_unknown_data_set_is_refused_with_the_nearest(conf: Path) -> None:
    spoil(conf, CASE, "data/town/roads", "town/roads")
    error = refusal(conf)
    assert error.what == "there is no data set 'town/roads'" and error.fix == "did you mean 'data/town/roads'?"


def test_an_unknown_environment_is_refused_with_the_known_ones(conf: Path) -> None:
    with pytest.raises(ConfigError, match="there is no environment 'moon'") as caught:
        Configuration.load(conf, env="moon")
    assert caught.value.fix == "known: local"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration folder"):
        Configuration.load(tmp_path / "absent")


def test_a_graph_cannot_come_first(conf: Path) -> None:
    spoil(conf, CASE, "  speed: data/town/traffic\n", "")
    assert "the first input must be a series" in refusal(conf).what


def test_a_first_input_without_time_is_refused_with_its_line(conf: Path) -> None:
    spoil(conf, CASE, "  speed: data/town/traffic", "  speed: data/town/roads")
    error = refusal(conf)
    assert "has no time, so nothing lies ahead in it" in error.what and error.where == f"{conf}/{CASE}:4"


EVENTS = """
title: Crashes
source: {format: csv, path: "${raw}/crashes.csv"}
contract:
  key: [KEY, ts]
  time: {column: ts, every: 1 min}
  columns: {lanes: {unit: "1"}, kind: {type: text}}
"""
SOON = """
title: Crash within the hour
task: classify
inputs:
  speed: data/town/traffic
  crashes: {from: data/town/crashes, as: events}
  places: {from: data/town/places, as: static}
target: {event: {of: crashes, within: 1 h}}
features:
  - events: {of: crashes, by: kind, values: [car, bus], since: 1 d}
  - columns: [places.lanes]
model: {family: mlp, window: 1}
train: {loss: bce}
evaluate: {metrics: [pr_auc], baselines: [mean]}
"""
PLACES = """
title: Places
source: {format: csv, path: "${raw}/places.csv"}
contract: {key: [detector], columns: {lanes: {unit: "1"}}}
"""


@pytest.mark.parametrize(
    ("file", "right", "wrong", "text"),
    [
        ("town/soon.yaml", "by: kind", "by: kinds", "data set town/crashes has no column 'kinds'"),
        ("town/soon.yaml", "by: kind", "by: lanes", "'lanes' of town/crashes is no text"),
        ("town/soon.yaml", "places.lanes", "places.lane", "data set town/places has no column 'lane'"),
        ("town/soon.yaml", "places.lanes", "spots.lanes", "'spots' must be one of the inputs, with as: static"),
        ("town/soon.yaml", "of: crashes, within", "of: places, within", "'places' must be one of the inputs"),
        ("town/soon.yaml", ", by: kind, values: [car, bus], since: 1 d", "", "name within, since or both"),
        ("town/soon.yaml", ", by: kind", "", "by and values need each other"),
        ("town/soon.yaml", "loss: bce", "loss: mae", "train.loss bce, focal or cross_entropy"),
        ("town/soon.yaml", "crashes, as: events", "crashes, as: events, every: 1 h", "every is for the first input"),
        ("town/soon.yaml", "[pr_auc]", "[pr_auc], by: kind", "no feature of kind categories is of 'kind'"),
        ("data/town/crashes.yaml", "[detector, ts]", "[camera, ts]", "say nothing of which detector they are"),
        ("data/town/places.yaml", "[detector]", "[detector, lane]", "town/places has a row for each detector/lane"),
    ],
)
def test_inputs_that_do_not_belong_to_the_series_are_refused(
    conf: Path, file: str, right: str, wrong: str, text: str
) -> None:
    (conf / "data/town/crashes.yaml").write_text(EVENTS.replace("KEY", "detector"))
    (conf / "data/town/places.yaml").write_text(PLACES)
    (conf / "town/soon.yaml").write_text(SOON)
    configuration = load(conf)
    configuration.inputs(configuration.use_case("town/soon"))
    spoil(conf, file, right, wrong)
    with pytest.raises(ConfigError) as caught:
        configuration.inputs(load(conf).use_case("town/soon"))
    assert text in caught.value.what and caught.value.where.startswith(f"{conf}/town/soon.yaml:")


def test_raw_is_asked_for_only_where_it_is_needed(conf: Path) -> None:
    with pytest.raises(ConfigError, match="no folder of raw drops is given") as caught:
        load(conf).raw()
    assert "--raw PATH" in caught.value.fix
    assert Configuration.load(conf, raw="/drops/").raw() == "/drops"


@pytest.mark.parametrize("path", ["C: [x]", "a'b\"c", "s3://bucket/lake", "Straße 😀", "no", "12"])
def test_paths_of_the_command_line_are_taken_as_they_are(conf: Path, path: str) -> None:
    environment = Configuration.load(conf, raw=path, lake=path).environment
    assert (environment.raw, environment.lake) == (path, path)


def test_a_use_case_may_be_a_file_of_its_own(conf: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "copy.yaml"
    file.write_text(f"extends: {conf}/town/traffic.yaml\ntarget: {{column: sped}}\n")
    configuration = load(conf)
    use_case = configuration.use_case(str(file))
    assert use_case.name == "mine/copy" and use_case.title == "Speed ahead"
    assert configuration.use_case("mine/copy") == use_case, "its name means that file from then on"
    with pytest.raises(ConfigError) as caught:
        configuration.inputs(use_case)
    assert caught.value.where == f"{file}:2"


def test_set_reaches_the_use_case_and_the_environment(conf: Path) -> None:
    configuration = load(conf, "train.epochs=7", "model.dropout=10 %", "spark.memory=3g")
    use_case = configuration.use_case("town/traffic")
    assert (use_case.train.epochs, use_case.model.dropout, configuration.environment.spark.memory) == (7, 0.1, "3g")


def test_set_reaches_the_monitor_that_has_the_key(conf: Path) -> None:
    configuration = load(conf, "monitor.error=9", "monitor.late=5 h")
    assert configuration.use_case("town/traffic").monitor.error == 9
    assert configuration.data_set("data/town/traffic").monitor.late == timedelta(hours=5)
    with pytest.raises(ConfigError, match="unknown key 'eror' in monitor"):
        load(conf, "monitor.eror=9").use_case("town/traffic")


def test_the_digest_is_of_the_values_not_of_the_text(conf: Path) -> None:
    before = digest(load(conf).use_case("town/traffic"))
    text = (conf / CASE).read_text()
    reordered = text.replace("title: Speed ahead\n", "") + "# a remark\ntitle: Speed ahead\n"
    (conf / CASE).write_text(reordered.replace("horizon: 12", "horizon: 0xC"))
    assert digest(load(conf).use_case("town/traffic")) == before
    assert digest(load(conf, "train.epochs=3").use_case("town/traffic")) == before
    assert digest(load(conf, "train.epochs=4").use_case("town/traffic")) != before
