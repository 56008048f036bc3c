"""Whole trainings in this process, from a gold table to a model's files."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from nightmill.config import Environment, UseCase
from nightmill.config.usecase import ByTime, Split
from nightmill.errors import ConfigError, DataRefused, WorkFailed
from nightmill.handoff import Batches, Cache, Plan, build_index, pin
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.models.bundle import DESCRIPTION, WEIGHTS, Bundle
from nightmill.train.job import Trained, prepare
from nightmill.train.ray_group import train_all
from nightmill.train.tracking import Tracking, flattened

from .conftest import hourly


def files(job):
    return {name: Path(job.result, name).read_bytes() for name in (WEIGHTS, DESCRIPTION)}


def only(outcomes):
    (found,) = outcomes
    assert isinstance(found, Trained), found
    return found


def test_a_training_leaves_a_model_that_predicts_from_its_files_alone(gold, job):
    asked, told = job(gold(), epochs=15), []
    found = only(train_all([asked], 0, Environment(), told.append))
    assert [(t["use_case"], t["seed"], t["epoch"]) for t in told] == [("city/traffic", 3, e) for e in range(1, 16)]
    assert found.resumed_from is None and found.samples == found.bundle.shape.entities * (144 - 4 - 2 + 1)

    prepared, read = prepare(asked), Bundle.from_files(files(asked))
    truth, value, lo, hi = predicted(read, prepared)
    one = Plan(prepared.parts.test, 500, seed=0, shuffle=False)
    (batch,) = Batches(prepared.gold, prepared.index, one, features=("speed",)).epoch(0)
    last = batch.x[:, -1, :1].numpy()[(batch.weight > 0).numpy()]
    assert np.abs(value - truth).mean() < 0.8 * np.abs(last - truth).mean(), "better than the last value"
    assert 0.65 < ((lo <= truth) & (truth <= hi)).mean() < 0.95
    assert 0.75 <= found.bundle.metrics["coverage"] <= 0.85


def test_a_model_without_weights_is_judged_as_it_is(gold, job):
    asked = job(gold(hourly(3, 480)), epochs=5, patience=2)
    data = asked.use_case.model_dump(mode="json", by_alias=True)
    naive = {"family": "seasonal_naive", "window": 48, "season": 24}
    asked = replace(asked, use_case=UseCase.model_validate(data | {"model": naive}))
    found = only(train_all([asked], 0, Environment()))
    assert [line["epoch"] for line in found.history] == [1]
    read, prepared = Bundle.from_files(files(asked)), prepare(asked)
    truth, value, lo, hi = predicted(read, prepared)
    assert np.abs(value - truth).mean() < 1.5, "of a daily wave with a deviation of 1"
    assert 0.65 < ((lo <= truth) & (truth <= hi)).mean() < 0.95


@pytest.mark.parametrize("loss", ["quantile", "poisson", "negative_binomial"])
def test_a_head_with_ends_of_its_own_covers_what_it_should(gold, job, loss):
    counted = hourly(3, 480)
    for name in ("speed", "target"):
        counts = pa.array(counted[name].to_numpy().round().clip(0))
        counted = counted.set_column(counted.schema.get_field_index(name), name, counts)
    uri = gold(counted)
    found = only(train_all([job(uri, epochs=12, loss=loss)], 0, Environment()))
    read = Bundle.from_files({name: Path(job(uri).result, name).read_bytes() for name in (WEIGHTS, DESCRIPTION)})
    truth, value, lo, hi = predicted(read, prepare(job(uri, loss=loss)))
    assert found.bundle.metrics["mae"] < 4, "of waves of 10 with a deviation of 1"
    assert (lo <= hi).all() and ((lo <= value) & (value <= hi)).mean() > 0.9
    assert 0.65 < ((lo <= truth) & (truth <= hi)).mean() < 0.92
    if loss == "quantile":
        assert len({round(float(width), 3) for width in (hi - lo)[:, 0]}) > 10, "widths follow the window"


@pytest.mark.parametrize(("loss", "limits"), [("poisson", "0 to inf"), ("focal", "0 to 1")])
def test_a_target_that_the_loss_is_not_defined_for_is_refused_before_training(gold, job, loss, limits):
    table = hourly(3, 240)
    column = table["target"].to_numpy().copy()
    column[:], column[247] = 0.0, -3.0
    uri = gold(table.set_column(table.schema.get_field_index("target"), "target", pa.array(column)))
    with pytest.raises(DataRefused, match=f"the target is -3 in a row of 'e1'.*{limits}"):
        prepare(job(uri, loss=loss))


@pytest.mark.parametrize(("loss", "bad"), [("poisson", -3.0), ("bce", 2.0)])
def test_such_a_target_in_validation_rows_is_refused_too(gold, job, loss, bad):
    table, split = hourly(3, 240), Split(time=ByTime(validation=0.2, test=0.2))
    column = np.zeros(720)
    column[240 + 150] = bad  # of the second entity, after six tenths of the time
    uri = gold(table.set_column(table.schema.get_field_index("target"), "target", pa.array(column)))
    with pytest.raises(DataRefused, match=f"the target is {bad:g} in a row of 'e1'"):
        prepare(job(uri, loss=loss, split=split))


def test_a_training_whose_validation_knows_nothing_fails_and_says_so(gold, job):
    table = hourly(3, 240)
    hour = np.tile(np.arange(240), 3)
    for part, unknown in (("validation", hour > 120), ("training", None)):
        column = table["target"].to_numpy().copy()
        if unknown is not None:
            column[unknown] = np.nan
        weighed = table.append_column("counts", pa.array(np.zeros(720) if unknown is None else np.ones(720)))
        uri = gold(weighed.set_column(weighed.schema.get_field_index("target"), "target", pa.array(column)), part)
        more = {} if unknown is not None else {"weight": "counts"}
        asked = job(uri, split=Split(time=ByTime(validation=0.2, test=0.2)), **more)
        if more:
            asked = replace(asked, features=(*asked.features, "counts"))
        (found,) = train_all([asked], 0, Environment())
        assert isinstance(found, DataRefused), found
        assert "sample has a known target and a weight above 0" in found.what


def test_a_validation_loss_that_is_no_number_ends_in_no_model(gold, job):
    table = hourly(3, 240)
    column = table["target"].to_numpy().copy()
    column[240 + 150] = 3e38
    uri = gold(table.set_column(table.schema.get_field_index("target"), "target", pa.array(column.astype(np.float32))))
    (found,) = train_all([job(uri, loss="mse", split=Split(time=ByTime(validation=0.2, test=0.2)))], 0, Environment())
    assert isinstance(found, WorkFailed) and "the validation loss is not a number" in found.what


def predicted(bundle, prepared):
    """truth, value, lo, hi of the test part."""
    plan = Plan(prepared.parts.test, 500, seed=0, shuffle=False)
    (batch,) = Batches(prepared.gold, prepared.index, plan, features=bundle.shape.features).epoch(0)
    real = (batch.weight > 0).numpy()
    found = bundle.predict(batch, bundle.codes(prepared.index.entities))
    return [batch.y.numpy()[real], *(array[real] for array in found[:3])]


def test_the_model_names_the_table_it_was_trained_on(gold, job):
    uri = gold()
    bundle = only(train_all([job(uri)], 0, Environment())).bundle
    pinned = pin(uri)
    assert bundle.gold["version"] == pinned.version and bundle.gold["files"][0][0] == pinned.files[0].path
    first = build_index(pinned, job(uri).every).span[0]
    assert bundle.gold["until"] == first + 192 * 3_600_000_000, "the test part was not seen"


def test_a_later_append_does_not_change_a_training_of_the_pinned_version(gold, job):
    uri = gold()
    before = only(train_all([job(uri)], 0, Environment()))
    table = DeltaTable(uri).to_pyarrow_table()
    later = pa.compute.add(table["ts"], pa.scalar(240 * 3_600_000_000, pa.duration("us")))
    write_deltalake(uri, table.set_column(table.schema.get_field_index("ts"), "ts", later), mode="append")
    pinned = replace(job(uri, seed=3), version=0, checkpoint=job(uri).checkpoint + "-2")
    after = only(train_all([pinned], 0, Environment()))
    assert before.bundle.to_files()[WEIGHTS] == after.bundle.to_files()[WEIGHTS]


def test_writes_and_a_vacuum_in_mid_training_change_nothing(gold, job):
    uri = gold()
    before = only(train_all([job(uri, epochs=4)], 0, Environment()))
    rows, other = DeltaTable(uri).to_pyarrow_table(), job(uri, seed=3, epochs=4)
    done = []

    def disturb(_: object) -> None:
        if not done:
            write_deltalake(uri, rows.slice(0, 50), mode="append")
            write_deltalake(uri, rows.slice(50), mode="overwrite")
            DeltaTable(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        done.append(len(list(Path(uri).glob("*.parquet"))))

    asked = replace(other, version=0, checkpoint=other.checkpoint + "-2")
    after = only(train_all([asked], 0, Environment(), disturb))
    assert done == [1] * 4, "of the version that is trained on no file is left"
    assert before.bundle.to_files()[WEIGHTS] == after.bundle.to_files()[WEIGHTS]


def test_rows_beyond_the_memory_budget_change_nothing(gold, job, tmp_path):
    uri = gold()
    before = only(train_all([job(uri)], 0, Environment()))
    asked = job(uri)
    cached = replace(asked, checkpoint=asked.checkpoint + "-2", memory=1000, cache=Cache(str(tmp_path / "c"), 2**20))
    after = only(train_all([cached], 0, Environment()))
    assert before.bundle.to_files()[WEIGHTS] == after.bundle.to_files()[WEIGHTS]
    assert len(list((tmp_path / "c").glob("*.arrow"))) == 3, (
        "of the training and the validation part, and of what the fallback is judged on"
    )


def test_fewer_windows_than_workers_are_refused_before_any_starts(gold, job):
    uri = gold(hourly(1, 40))
    windows = prepare(job(uri)).parts.train.count
    (found,) = train_all([job(uri)], windows + 1, Environment())
    assert isinstance(found, DataRefused) and f"{windows} training windows for {windows + 1} workers" in found.what
    assert "train.workers" in found.fix


def test_a_failing_job_stops_no_other(gold, job, tmp_path):
    uri = gold()
    jobs = [job(str(tmp_path / "absent"), "city/absent"), job(uri, "city/bad", learning_rate=1e30), job(uri)]
    absent, bad, good = train_all(jobs, 0, Environment())
    assert isinstance(absent, DataRefused) and "no Delta table" in absent.what
    assert "is not a number" in str(bad)
    assert isinstance(good, Trained)


def test_a_missing_feature_is_refused_by_name(gold, job):
    (found,) = train_all([replace(job(gold()), features=("speed", "wind"))], 0, Environment())
    assert isinstance(found, DataRefused) and "'wind'" in found.what


def test_training_again_without_a_checkpoint_gives_the_same_bytes(gold, job):
    asked = job(gold(), epochs=3)
    first = only(train_all([asked], 0, Environment())).bundle.to_files()
    Path(asked.checkpoint).unlink()
    assert only(train_all([asked], 0, Environment())).bundle.to_files() == first


def test_a_checkpoint_of_other_options_is_refused(gold, job):
    uri = gold()
    only(train_all([job(uri)], 0, Environment()))
    (found,) = train_all([job(uri, learning_rate=0.5)], 0, Environment())
    assert isinstance(found, ConfigError) and "configuration differ" in found.what


def test_workers_and_checkpoints_may_differ_when_a_training_goes_on(gold, job):
    uri = gold()
    assert job(uri, workers=0, checkpoint_steps=7).digest == job(uri, workers=4).digest
    assert job(uri, learning_rate=0.5).digest != job(uri).digest


KILLED = """
import os, pickle, signal, sys
from nightmill.config import Environment
from nightmill.train.checkpoint import Checkpoint
from nightmill.train.ray_group import train_all
save, saves = Checkpoint.save, []
def killing(self, *arguments):
    save(self, *arguments)
    saves.append(1)
    if len(saves) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
Checkpoint.save = killing
train_all([pickle.load(open(sys.argv[1], "rb"))], 0, Environment())
"""


@pytest.mark.parametrize("saves", [2, 6])
def test_a_training_killed_in_mid_epoch_ends_with_the_bytes_of_an_uninterrupted_one(gold, job, tmp_path, saves):
    import pickle

    uri = gold()
    asked = job(uri, epochs=3, checkpoint_steps=2, patience=3, ema=0.9, clip=1.0, weight_decay=0.01)
    whole = only(train_all([asked], 0, Environment())).bundle.to_files()
    Path(asked.checkpoint).unlink()
    (tmp_path / "job").write_bytes(pickle.dumps(asked))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "job"), str(saves)], timeout=120)
    assert killed.returncode == -9
    found = only(train_all([asked], 0, Environment()))
    steps = -(-found.samples // 64)
    assert found.resumed_from is not None and found.resumed_from % steps != 0, "it was killed within an epoch"
    assert found.bundle.to_files() == whole


def test_mlflow_is_told_options_figures_and_origin(gold, job, tmp_path):
    asked = job(gold())
    trained = only(train_all([asked], 0, Environment()))
    registry = Registry.open(Lake.open(str(tmp_path / "lake")))
    version = registry.register(trained.bundle.to_files(), "city/traffic", "night-7")
    run = registry.call(lambda c: c.get_run(Tracking(registry).log(asked.use_case, trained, version, "night-7")))
    assert run.info.status == "FINISHED"
    assert run.data.params["train.learning_rate"] == "0.01" and run.data.params["model.family"] == "stid"
    assert (run.data.tags["gold_version"], run.data.tags["model_version"], run.data.tags["run"]) == (
        "0",
        str(version),
        "night-7",
    )
    losses = registry.call(lambda c: c.get_metric_history(run.info.run_id, "validation_loss"))
    assert [(m.step, m.value) for m in losses] == [(h["epoch"], h["validation_loss"]) for h in trained.history]


def test_options_are_flattened_to_dotted_names():
    assert flattened({"train": {"epochs": 3, "at": [1, 2]}, "name": "x"}) == {
        "train.epochs": "3",
        "train.at": "[1, 2]",
        "name": "x",
    }


def test_a_rare_class_counts_like_the_others_where_that_is_asked(gold, job):
    table = hourly(3, 240)
    rare = (np.arange(720) % 20 == 0).astype(np.float32)
    uri = gold(table.set_column(table.schema.get_field_index("target"), "target", pa.array(rare)))
    plain, balanced = (
        only(train_all([job(uri, f"city/{balance}", loss="bce", epochs=3, balance=balance)], 0, Environment())).bundle
        for balance in (False, True)
    )
    means = [predicted(bundle, prepare(job(uri, loss="bce")))[1].mean() for bundle in (plain, balanced)]
    assert means[0] == pytest.approx(0.05, abs=0.04) and means[1] > 0.2


def test_samples_count_by_a_feature(gold, job):
    # what counts says 50, the rest says 0
    table = hourly(3, 240)
    said, counts = np.where(np.arange(720) % 2, 50.0, 0.0).astype(np.float32), (np.arange(720) % 2).astype(np.float32)
    for name, values in (("target", said), ("minute_of_week", counts)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    uri = gold(table)
    options = {"loss": "mse", "epochs": 20, "learning_rate": 0.02, "weight": "minute_of_week"}
    # an origin that counts is followed by a row that says 0, and that by one that says 50
    bundle = only(train_all([job(uri, **options)], 0, Environment())).bundle
    truth, value, _, _ = predicted(bundle, prepare(job(uri)))
    assert np.abs(value - [[0, 50]]).mean() < 5 and np.abs(truth - [[0, 50]]).mean() > 20


def test_a_weight_that_is_no_feature_is_refused_before_training(gold, job):
    with pytest.raises(ConfigError, match="train.weight: 'colour' is none of the features") as found:
        prepare(job(gold(), weight="colour"))
    assert "speed, minute_of_week" in found.value.fix
