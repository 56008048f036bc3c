"""A search over options: trials in turn within one worker group, judged by their validation loss alone.

Rank 0 asks Optuna and keeps the file of the trials. What comes next is a function of that file and the seed, so that an
interrupted search goes on as it would have gone.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import ValidationError

from nightmill.config.search import Range
from nightmill.config.usecase import UseCase
from nightmill.errors import NightmillError, WorkFailed
from nightmill.lake.files import Folder
from nightmill.train import failure, ranks
from nightmill.train.checkpoint import fingerprint
from nightmill.train.failure import MOST_ATTEMPTS
from nightmill.train.job import Prepared, SearchJob
from nightmill.train.one import set_up, trainer

if TYPE_CHECKING:
    import optuna

FIRST = 5
"""Finished trials before which none is given up."""
UNHURRIED = 3
"""A trial is given up in its first epochs / UNHURRIED at the earliest: losses after few epochs say little."""
TRIES = 50
"""Draws after which a search that only meets options it has tried counts through those that are left."""


@dataclass
class Trial:
    """One training of a search."""

    number: int
    """From 1 on; the first is of the options as they stand."""
    options: dict[str, Any]
    """Dotted name -> value, as a person writes it; empty for the options as they stand."""
    state: Literal["running", "complete", "pruned", "failed"] = "running"
    loss: float | None = None
    """Validation loss of the weights that the training chose; None where it failed."""
    losses: list[float | None] = field(default_factory=list)
    """Validation loss after each epoch; None where it is no number."""
    seconds: float = 0.0
    why: str = ""
    """What made it fail."""
    attempts: int = 0
    """How often it was begun."""
    stands: str = ""
    """Fingerprint of its checkpoint when it was begun last."""


@dataclass
class Searched:
    """What came of a search."""

    use_case: str
    gold_version: int
    seed: int
    workers: int
    trials: list[Trial]
    best: Trial | None = field(init=False)
    """The complete trial with the least loss."""

    def __post_init__(self) -> None:
        self.best = next(iter(self.ranked), None)

    @property
    def ranked(self) -> list[Trial]:
        """The complete trials, the best first."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(complete, key=lambda trial: (trial.loss, trial.number))

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "best"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Searched:
        """The inverse of `to_json`."""
        return cls(**data | {"trials": [Trial(**trial) for trial in data["trials"]]})


def search_one(
    prepared: Prepared, device: torch.device, on_epoch: Callable[[dict[str, float]], None] = lambda _: None
) -> Searched:
    """All trials of a prepared search, the same on all ranks; `on_epoch` is called on rank 0.

    A trial that fails on all ranks alike leaves its reason and ends nothing. Raises WorkFailed where none is complete.
    """
    job = prepared.job
    assert isinstance(job, SearchJob)
    study = Study(job)
    while (trial := ranks.asked_of_first(study.next)) is not None:
        begun = time.perf_counter()
        try:
            _run(prepared, trial, study, device, on_epoch)
        except NightmillError as agreed:  # by all ranks together
            trial.state, trial.why = "failed", agreed.what
        except Exception as error:
            if failure.of_memory(error):  # on this rank alone: the group starts again with the next trial
                study.keep(replace(trial, state="failed", why=failure.to_json(error)["what"]))
            raise
        trial.seconds += time.perf_counter() - begun
        ranks.asked_of_first(partial(study.keep, trial))
    trials = ranks.asked_of_first(lambda: study.trials)
    found = Searched(job.use_case.name, prepared.gold.version, job.seed, ranks.world(), trials)
    if found.best is None:
        why = next((trial.why for trial in trials if trial.why), "all were given up")
        what = f"none of {len(trials)} trials is complete: {why}"
        raise WorkFailed(what, where=job.use_case.name, fix="narrow search.space")
    return found


def _run(
    prepared: Prepared,
    trial: Trial,
    study: Study,
    device: torch.device,
    on_epoch: Callable[[dict[str, float]], None],
) -> None:
    """Trains one trial, on all ranks, and writes into it what came of it."""
    assert isinstance(prepared.job, SearchJob)
    setup, error = None, None
    try:
        one = prepared.trial(prepared.job.trial(trial.number, trial.options))
        setup = set_up(one, device, lambda line: on_epoch(line | {"trial": trial.number}))
    except Exception as raised:
        error = raised
    ranks.agree(error)
    assert setup is not None
    state = trainer(replace(setup, give_up=lambda history: study.hopeless(trial, _losses(history)))).run()
    trial.losses = _losses(state.history)
    loss = state.chosen_loss(setup.options)
    trial.state, trial.loss = ("pruned" if state.given_up else "complete"), loss


def _losses(history: list[dict[str, float]]) -> list[float | None]:
    losses = [line["validation_loss"] for line in history]
    return [loss if math.isfinite(loss) else None for loss in losses]


def _numbers(losses: list[float | None]) -> list[float]:
    return [math.nan if loss is None else loss for loss in losses]


class Study:
    """The trials of a search in their file, and which comes next. Only rank 0 asks it."""

    def __init__(self, job: SearchJob) -> None:
        self.job, self.search = job, job.search
        self.space = {name: _plain(job.use_case, name, values) for name, values in self.search.space.items()}
        self.folder, self.name = Folder.of(job.checkpoint, job.storage_options)
        self._kept: dict[int, Trial] | None = None

    @property
    def trials(self) -> list[Trial]:
        """All trials so far, in order."""
        return list(self._file().values())

    def next(self) -> Trial | None:
        """The trial to begin or to take up again, noted as running; None where the search is over."""
        for trial in self.trials:
            if trial.state == "running":
                paths = self.job.trial(trial.number, trial.options).checkpoints
                stands = "".join(fingerprint(path, self.job.storage_options) for path in paths)
                attempts = trial.attempts + 1 if trial.stands == stands else 1
                if attempts <= MOST_ATTEMPTS:
                    return self.keep(replace(trial, attempts=attempts, stands=stands))
                self.keep(replace(trial, state="failed", why=f"the workers were lost {MOST_ATTEMPTS} times"))
        spent, done = sum(trial.seconds for trial in self.trials), len(self.trials)
        if done >= self.search.trials or (self.search.within and spent >= self.search.within.total_seconds()):
            return None
        options = self._drawn(done + 1) if done else {}
        return None if options is None else self.keep(Trial(done + 1, options, attempts=1))

    def keep(self, trial: Trial) -> Trial:
        """Writes how a trial stands; of one that is over the checkpoint goes."""
        known = self._file() | {trial.number: trial}
        lines = [json.dumps(asdict(known[number]), allow_nan=False) for number in sorted(known)]
        self.folder.put(self.name, "\n".join(lines).encode())
        self._kept = known
        if trial.state != "running":
            for path in self.job.trial(trial.number, trial.options).checkpoints:
                self.folder.delete(path.rpartition("/")[2])
        return trial

    def hopeless(self, trial: Trial, losses: list[float | None]) -> bool:
        """Whether a trial that is not through yet is to be given up.

        The median rule of Golovin et al. 2017, "Google Vizier: A Service for Black-Box Optimization".
        """
        case = self.job.use_case.having(trial.options)
        if not self.search.prune or len(losses) >= case.train.epochs:
            return False
        import optuna

        warm = case.train.epochs // UNHURRIED
        study = self._study(trial.number, optuna.pruners.MedianPruner(FIRST, warm))
        asked = study.ask(self._space)
        for epoch, loss in enumerate(_numbers(losses)):
            asked.report(loss, epoch)
        return bool(asked.should_prune())

    def _drawn(self, number: int) -> dict[str, Any] | None:
        """Options that no trial had yet; None where there are none left."""
        tried = [self._full(trial.options) for trial in self.trials]
        study = self._study(number)
        again = None
        for _ in range(TRIES):
            options = {name: self._rounded(name, value) for name, value in study.ask(self._space).params.items()}
            if self._fit_together(options):
                if options not in tried:
                    return options
                again = options
        every = [_all_of(values) for values in self.space.values()]
        if any(not values for values in every):
            return again
        grid = (dict(zip(self.space, chosen)) for chosen in itertools.product(*every))
        return next((options for options in grid if options not in tried and self._fit_together(options)), None)

    def _fit_together(self, options: dict[str, Any]) -> bool:
        """Whether the use case may have all of them; each alone it may."""
        try:
            self.job.use_case.having(options)
        except ValidationError:
            return False
        return True

    def _study(self, number: int, pruner: Any = None) -> optuna.Study:
        """Optuna's study of all trials that are over; its draws follow from the seed and the trial's number.

        Tree-structured Parzen estimators of Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization".
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        seed = int(np.random.SeedSequence([self.job.seed, number]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST)
        study = optuna.create_study(sampler=sampler, pruner=pruner or optuna.pruners.NopPruner())
        states = {"complete": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED}
        for trial in self.trials:
            options = self._full(trial.options)
            if trial.state in states and self._inside(options):
                study.add_trial(
                    optuna.create_trial(
                        state=states[trial.state],
                        value=trial.loss,
                        params=options,
                        distributions=self._space,
                        intermediate_values=dict(enumerate(_numbers(trial.losses))),
                    )
                )
        return study

    def _rounded(self, name: str, value: Any) -> Any:
        """What a person would write: four digits of a number that may be any."""
        values = self.space[name]
        if not isinstance(values, Range) or values.whole or values.step is not None:
            return value
        return min(max(float(f"{value:.4g}"), values.low), values.high)

    def _full(self, options: dict[str, Any]) -> dict[str, Any]:
        """A trial's options; of the one as they stand what the use case says."""
        return options or {name: _value_at(self.job.use_case, name) for name in self.space}

    def _inside(self, options: dict[str, Any]) -> bool:
        return all(
            values.holds(options[name]) if isinstance(values, Range) else options[name] in values
            for name, values in self.space.items()
        )

    @cached_property
    def _space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        import optuna

        found: dict[str, optuna.distributions.BaseDistribution] = {}
        for name, values in self.space.items():
            if not isinstance(values, Range):
                found[name] = optuna.distributions.CategoricalDistribution(values)
            elif values.whole:
                low, high, step = int(values.low), int(values.high), int(values.step or 1)
                found[name] = optuna.distributions.IntDistribution(low, high, values.log, step)
            else:
                found[name] = optuna.distributions.FloatDistribution(values.low, values.high, values.log, values.step)
        return found

    def _file(self) -> dict[int, Trial]:
        if self._kept is None:
            lines = (self.folder.get(self.name) or b"").decode().splitlines()
            self._kept = {trial.number: trial for trial in (Trial(**json.loads(line)) for line in lines)}
        return self._kept


def _value_at(use_case: UseCase, name: str) -> Any:
    section, _, option = name.partition(".")
    return use_case.model_dump(mode="json")[section][option]


def _plain(use_case: UseCase, name: str, values: list[Any] | Range) -> list[Any] | Range:
    """Values of a list as the use case holds them: 10 % is 0.1."""
    return values if isinstance(values, Range) else [_value_at(use_case.having({name: v}), name) for v in values]


def _all_of(values: list[Any] | Range) -> list[Any]:
    """Every value; none where they are beyond counting."""
    if not isinstance(values, Range):
        return values
    return list(range(int(values.low), int(values.high) + 1, int(values.step or 1))) if values.whole else []
