"""Searches in this process: which options are tried, what is kept, how they go on."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nightmill.config import Environment, UseCase
from nightmill.config.search import Search
from nightmill.errors import WorkFailed
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.train import loop
from nightmill.train.job import SearchJob, prepare
from nightmill.train.ray_group import search_all, train_all
from nightmill.train.search import Searched, Study, Trial
from nightmill.train.tracking import Tracking

SPACE = {"train.learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "model.hidden": [8, 16]}


@pytest.fixture
def searching(gold, job, tmp_path):
    """A search over a small table; keyword arguments are options of its search section."""
    uri = gold()

    def make(train=None, **search) -> SearchJob:
        one = job(uri, **(train or {}))
        options = Search.model_validate({"space": SPACE, "trials": 4, "prune": False} | search)
        case = one.use_case.model_copy(update={"search": options})
        return SearchJob(**vars(replace(one, use_case=case, checkpoint=str(tmp_path / "trials"))))

    return make


def found(job: SearchJob) -> Searched:
    (outcome,) = search_all([job], 0, Environment())
    assert isinstance(outcome, Searched), outcome
    return outcome


def test_the_first_trial_is_of_the_options_as_they_stand_and_loses_what_training_loses(searching):
    asked = searching()
    searched = found(asked)
    assert [trial.number for trial in searched.trials] == [1, 2, 3, 4]
    assert searched.trials[0].options == {}
    (trained,) = train_all([asked.trial(1, {})], 0, Environment())
    assert searched.trials[0].losses == [line["validation_loss"] for line in trained.history]
    assert searched.trials[0].loss == trained.history[-1]["validation_loss"]
    for trial in searched.trials[1:]:
        assert 0.001 <= trial.options["train.learning_rate"] <= 0.1 and trial.options["model.hidden"] in (8, 16)
    assert searched.best.loss == min(trial.loss for trial in searched.trials)
    assert len({json.dumps(trial.options) for trial in searched.trials}) == 4


def test_what_a_search_finds_a_training_with_those_options_has(searching):
    asked = searching({"patience": 1, "epochs": 4})
    best = found(asked).best
    case = asked.use_case.having(best.options)
    one = replace(asked.trial(9, best.options), use_case=case)
    (trained,) = train_all([one], 0, Environment())
    assert min(line["validation_loss"] for line in trained.history) == best.loss


def test_a_search_leaves_its_trials_and_nothing_else_and_the_next_goes_on_from_them(searching, tmp_path):
    asked = searching()
    first = found(asked)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("trials")) == ["trials"]
    told = []
    (more,) = search_all([searching(trials=6)], 0, Environment(), told.append)
    assert {line["trial"] for line in told} == {5, 6}
    assert more.trials[:4] == first.trials
    Path(asked.checkpoint).unlink()
    again = found(searching(trials=6))
    assert [(t.options, t.loss) for t in again.trials] == [(t.options, t.loss) for t in more.trials], "one sequence"


def test_a_search_that_is_killed_within_a_trial_goes_on_within_it(searching, monkeypatch):
    asked = searching({"epochs": 3})
    whole = found(asked)
    Path(asked.checkpoint).unlink()
    told, end_epoch = [], loop.Loop._end_epoch

    def killed(self, started, first):
        end_epoch(self, started, first)
        told.append(self.state.epoch)
        if len(told) == 5:  # in the second epoch of the second trial, after its checkpoint
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_end_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            search_all([asked], 0, Environment())
    assert [(t.number, t.state) for t in Study(asked).trials] == [(1, "complete"), (2, "running")]
    lines = []
    (again,) = search_all([asked], 0, Environment(), lines.append)
    assert [(line["trial"], line["epoch"]) for line in lines][:2] == [(2, 3), (3, 1)], "the third epoch comes next"
    assert [(t.options, t.losses) for t in again.trials] == [(t.options, t.losses) for t in whole.trials]


def test_windows_of_any_length_are_judged_on_the_same_origins(searching):
    asked = searching(space={"model.window": [2, 4, 24]})
    prepared = prepare(asked)
    counts = set()
    for window in (2, 4, 24):
        one = prepared.trial(asked.trial(1, {"model.window": window}))
        assert one.parts.validation.window.lookback == one.shape.lookback == window
        counts.add((one.parts.train.count, one.parts.validation.count))
    assert counts == {(3 * (144 - 24 - 2 + 1), 3 * (48 - 24 - 2 + 1))}


def test_a_profile_is_fitted_anew_where_its_smoothing_is_searched(searching):
    asked = searching(space={"model.profile_smoothing": [0, 3]})
    prepared = prepare(asked)
    profiles = [prepared.trial(asked.trial(1, {"model.profile_smoothing": n})).fitted.profile for n in (0, 3)]
    assert np.abs(np.diff(profiles[0])).mean() > np.abs(np.diff(profiles[1])).mean()


def test_a_space_that_is_exhausted_ends_the_search(searching):
    searched = found(searching(space={"model.hidden": [8, 16], "train.batch": [32, 64]}, trials=50))
    options = [(t.options.get("model.hidden", 16), t.options.get("train.batch", 64)) for t in searched.trials]
    assert sorted(options) == [(8, 32), (8, 64), (16, 32), (16, 64)], "the options as they stand are one of the four"


def test_no_trial_begins_after_the_time_is_up(searching):
    assert len(found(searching(within="1 ms", trials=50)).trials) == 1


def test_hopeless_trials_are_given_up_and_the_best_is_none_of_them(searching):
    rates = [0.01, 0.02, 0.03, 0.04, 0.05, 1e-8, 2e-8, 3e-8]
    searched = found(searching({"epochs": 4}, space={"train.learning_rate": rates}, trials=8, prune=True))
    states = Counter(trial.state for trial in searched.trials)
    assert states["pruned"] >= 1 and states["complete"] >= 5 and sum(states.values()) == 8
    for number, trial in enumerate(searched.trials):
        assert len(trial.losses) == 4 if trial.state == "complete" else 2 <= len(trial.losses) < 4
        if trial.state == "pruned":
            before = [t.losses for t in searched.trials[:number] if t.state == "complete"]
            assert min(trial.losses) > np.median([losses[len(trial.losses) - 1] for losses in before])
    assert searched.best.state == "complete" and searched.best.options.get("train.learning_rate", 0.01) > 1e-6


def test_a_trial_that_fails_leaves_its_reason_and_the_others_go_on(searching):
    searched = found(searching(space={"train.learning_rate": [0.01, 1e30]}, trials=2))
    good, bad = searched.trials
    assert (good.state, bad.state, bad.loss) == ("complete", "failed", None)
    assert "not a number" in bad.why
    (outcome,) = search_all([searching({"learning_rate": 1e30}, trials=1)], 0, Environment())
    assert isinstance(outcome, Searched), "the file holds a complete trial"


def test_a_search_without_a_complete_trial_fails(searching):
    (outcome,) = search_all([searching({"learning_rate": 1e30}, trials=1)], 0, Environment())
    assert isinstance(outcome, WorkFailed) and "none of 1 trials is complete: the loss of epoch 1" in outcome.what


def test_a_trial_that_loses_its_workers_twice_at_one_place_has_failed(searching):
    study = Study(searching())
    first = study.next()
    assert (first.number, first.attempts) == (1, 1)
    assert Study(searching()).next().attempts == 2
    after = Study(searching())
    assert after.next().number == 2
    assert after.trials[0].state == "failed" and "lost 2 times" in after.trials[0].why


def test_shares_are_compared_as_they_are_held(searching):
    study = Study(searching(space={"model.dropout": ["10 %", "30 %"]}))
    assert study.space == {"model.dropout": [0.1, 0.3]}
    study.keep(Trial(1, {}, "complete", 0.5, [0.5]))
    assert study.next().options in ({"model.dropout": 0.1}, {"model.dropout": 0.3})


def test_mlflow_has_one_run_per_trial_below_one_of_the_search_and_each_once(searching, tmp_path):
    registry = Registry.open(Lake.open(str(tmp_path / "lake"), create=True))
    asked = searching(space={"train.learning_rate": [0.01, 1e30, 0.02]}, trials=2)
    searched = found(asked)
    tracking = Tracking(registry)
    for trials in (2, 3):
        searched = found(searching(space={"train.learning_rate": [0.01, 1e30, 0.02]}, trials=trials))
        tracking.log_search(asked.use_case, searched, "a-1.trials", "run-1")
    runs = tracking._runs_of(tracking._experiment("city/traffic"), "a-1.trials")
    named = {run.info.run_name: run for run in runs}
    assert sorted(named) == ["search a-1.trials", "trial 1", "trial 2", "trial 3"] and len(runs) == 4
    one = named["trial 1"]
    assert one.data.tags["mlflow.parentRunId"] == named["search a-1.trials"].info.run_id
    assert one.data.metrics["validation_loss"] == pytest.approx(searched.trials[0].loss)
    assert one.data.params["train.learning_rate"] == "0.01" and one.data.tags["state"] == "complete"
    failed = next(run for run in runs if run.data.tags.get("state") == "failed")
    assert "not a number" in failed.data.tags["why"]


def test_a_search_of_other_values_has_a_file_of_its_own(searching):
    digests = {
        searching().digest,
        searching(trials=9).digest,
        searching(space={"model.hidden": [8, 32]}).digest,
        searching({"epochs": 5}).digest,
        searching(prune=True).digest,
    }
    assert len(digests) == 4, "only the number of trials makes no other search"


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"space": {"model.hiden": [8, 16]}}, "'model.hiden' cannot be searched; did you mean 'model.hidden'"),
        ({"space": {"train.loss": ["mae", "mse"]}}, "'train.loss' cannot be searched"),
        ({"space": {"model.family": ["stid", "lstm"]}}, "'model.family' cannot be searched"),
        ({"space": {"model.hidden": [8, -1]}}, "model.hidden cannot be -1: Input should be greater than 0"),
        ({"space": {"model.hidden": [8]}}, "model.hidden needs two or more plain values"),
        ({"space": {"train.learning_rate": {"low": 0.1, "high": 0.01}}}, r"low \(0.1\) must be below high"),
        ({"space": {"train.learning_rate": {"low": 0, "high": 0.01, "log": True}}}, "log needs a low above 0"),
        ({"space": {"train.learning_rate": {"low": 0, "high": 0.01}}}, "train.learning_rate cannot be 0"),
        ({"space": {}}, "at least 1 item"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_when_the_file_is_read(job, search, said):
    data = job("nowhere").use_case.model_dump(mode="json", by_alias=True) | {"search": search}
    with pytest.raises(ValueError, match=said):
        UseCase.model_validate(data)


def test_values_that_do_not_fit_together_are_never_tried(searching):
    asked = searching()
    patches = {"family": "patchtst", "window": 8, "patch": 4, "hidden": 16, "heads": 2, "layers": 1}
    data = asked.use_case.model_dump(mode="json", by_alias=True)
    space = {"model.hidden": [16, 24], "model.heads": [2, 16]}
    case = UseCase.model_validate(data | {"model": patches, "search": {"space": space, "trials": 9, "prune": False}})
    trials = found(replace(asked, use_case=case)).trials
    tried = [{"model.hidden": 16, "model.heads": 2} | trial.options for trial in trials]
    assert len(trials) == 3 and {"model.hidden": 24, "model.heads": 16} not in tried
    assert {trial.state for trial in trials} == {"complete"}


def test_options_as_they_stand_may_lie_between_the_steps(searching):
    trials = found(searching(space={"model.hidden": {"low": 5, "high": 17, "step": 4}}, trials=3)).trials
    assert [trial.state for trial in trials] == ["complete"] * 3
    assert {trial.options["model.hidden"] for trial in trials[1:]} <= {5, 9, 13, 17}


def test_a_range_ends_at_one_of_its_steps():
    with pytest.raises(ValueError, match=r"high \(16\) must be low \(8\) and a number of steps of 100"):
        Search.model_validate({"space": {"model.hidden": {"low": 8, "high": 16, "step": 100}}})


def test_a_range_of_any_numbers_is_refused_for_an_option_that_takes_whole_ones(job):
    data = job("gold").use_case.model_dump(mode="json", by_alias=True)
    space = {"model.hidden": {"low": 8.0, "high": 32.0}}
    with pytest.raises(ValueError, match="model.hidden cannot be 17.168"):
        UseCase.model_validate(data | {"search": {"space": space}})
