"""Grows boosted trees over the same plan, epochs and validation that networks are trained with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nightmill.errors import WorkFailed
from nightmill.models.heads import dispersion
from nightmill.models.trees import Trees
from nightmill.train import ranks
from nightmill.train.checkpoint import State
from nightmill.train.loop import Feed, Setup, refuse_nothing_known
from nightmill.train.loss import per_value

OBJECTIVES = {
    "mae": "regression_l1",
    "mse": "regression",
    "huber": "huber",
    "quantile": "quantile",
    "poisson": "poisson",
    "negative_binomial": "poisson",  # of the mean; the dispersion is found after it (Cameron & Trivedi 2013)
    "bce": "cross_entropy",
    "cross_entropy": "multiclass",
}
"""Loss -> LightGBM's name of it."""
SHOWN = 50_000
"""Training samples at most of which the loss is told."""

Floats = NDArray[np.float32]


class Boost:
    """As `Loop`, for a network of trees: an epoch adds `model.rounds` trees to each booster.

    Rank 0 grows them, from all samples; the others wait. A training that was interrupted begins anew.
    """

    resumed_from = None

    def __init__(self, setup: Setup) -> None:
        assert isinstance(setup.network, Trees)
        self.setup, self.options, self.network = setup, setup.options, setup.network
        self.state = State()

    def run(self) -> State:
        """Grows trees until the last epoch or until patience runs out; the same forest on all ranks.

        Raises what reading raises, on all ranks together.
        """
        ranks.asked_of_first(self._begin)
        while self.state.epoch < self.options.epochs and not self.state.stopped:
            self.state = ranks.asked_of_first(self._epoch)
        self.network.plant(*ranks.asked_of_first(self._grown))
        self.network.eval()
        return self.state

    def _begin(self) -> None:
        with _translated():
            self._plant()

    def _plant(self) -> None:
        import lightgbm

        begun = time.perf_counter()
        assert self.setup.whole is not None
        training, validation = self.setup.whole()
        columns, y, base, weight = self._gathered(training)
        self.judged = self._gathered(validation)
        shown = np.linspace(0, len(y) - 1, min(len(y), SHOWN)).astype(int)
        self.seen = columns[shown], y[shown], base[shown], weight[shown]
        entity = [columns.shape[1] - 1] if self.network.knows_entity else []
        if self.network.options.together:
            steps = range(y.shape[1])
            columns = np.concatenate([self.network.at_step(columns, step) for step in steps])
            base, weight, y = np.tile(base, (len(steps), 1)), np.tile(weight, len(steps)), y.T.reshape(-1, 1)
        names = [f"c{number}" for number in range(columns.shape[1])]
        self._boosters, shared = [], None
        for number in range(self.network.boosters):
            step, level = divmod(number, self.network.each)
            target, counts = self._target(y[:, step], base[:, 0]), self._counts(y[:, step], weight)
            refuse_nothing_known(float(counts.sum()), "training")
            data = lightgbm.Dataset(
                columns,
                target,
                shared,
                counts,
                feature_name=names,
                categorical_feature=entity,
                params=self._params(level),
            )
            shared = shared or data
            self._boosters.append(lightgbm.Booster(self._params(level), data))
        outputs = self.network.each * self.network.shape.steps
        self._scores: list[list[Any]] = [[0.0] * outputs for _ in range(2)]
        self._dispersions: list[float] = []
        self.state.seconds = time.perf_counter() - begun

    def _epoch(self) -> State:
        begun, state, rounds = time.perf_counter(), self.state, self.network.options.rounds
        with _translated():
            for booster in self._boosters:
                for _ in range(rounds):
                    booster.update()
        parts = self.seen, self.judged
        for kind, (columns, *_) in enumerate(parts):
            self._add(kind, columns)
        if self.network.shape.head == "negative_binomial":
            self._disperse()
        loss, validation = (self._loss(kind, part) for kind, part in enumerate(parts))
        enough = state.judged(validation, self.options)
        seconds = time.perf_counter() - begun
        line = {
            "epoch": state.epoch + 1,
            "of": self.options.epochs,
            "loss": loss,
            "validation_loss": validation,
            "learning_rate": self.options.learning_rate,
            "seconds": seconds,
            "samples_per_second": self.setup.training.samples * rounds / seconds,
        }
        state.history.append(line)
        state.given_up = self.setup.give_up(state.history)
        state.stopped = state.given_up or enough
        state.epoch, state.seconds = state.epoch + 1, state.seconds + seconds
        self.setup.on_epoch(line)
        return state

    def _grown(self) -> tuple[list[str], float | None]:
        """The boosters as text, and the dispersion that goes with them."""
        epochs = self.state.best_epoch + 1 if self.options.patience is not None else self.state.epoch
        texts = [b.model_to_string(num_iteration=epochs * self.network.options.rounds) for b in self._boosters]
        return texts, self._dispersions[epochs - 1] if self._dispersions else None

    def _add(self, kind: int, columns: Floats) -> None:
        """Asks the trees that the epoch added, and no others."""
        rounds = self.network.options.rounds

        def score(number: int, seen: Floats) -> Any:
            return self._boosters[number].predict(seen, self.state.epoch * rounds, rounds, raw_score=True)

        added = self.network.raw(columns, score)
        self._scores[kind] = [before + new for before, new in zip(self._scores[kind], added)]

    def _disperse(self) -> None:
        """Of the validation samples, as the trees know those that they were grown from too well."""
        mean = np.exp(np.stack(self._scores[1], axis=1))
        self._dispersions.append(dispersion(self.judged[1], mean))
        self.network.dispersion.fill_(self._dispersions[-1])

    def _loss(self, kind: int, part: tuple[Floats, Floats, Floats, Floats]) -> float:
        """Mean loss of the trees so far."""
        _, y, base, weight = part
        with torch.no_grad():
            z = self.network.linked(self._scores[kind])
            head, mean, std = self.network.head, self.network.target_mean.cpu(), self.network.target_std.cpu()
            parameters = head(z, torch.from_numpy(base), mean, std)
            truth, counts = torch.from_numpy(y), torch.from_numpy(weight)
            network = self.network
            each, weights = per_value(self.options.loss, network, parameters, truth, counts, self.setup.classes)
        refuse_nothing_known(float(weights.sum()), ("training", "validation")[kind])
        loss = float(each.sum() / weights.sum())
        if not np.isfinite(loss):
            fix = "look for extreme values of the target in gold; lower train.learning_rate"
            raise WorkFailed(f"the loss of epoch {self.state.epoch + 1} is not a number", where="train", fix=fix)
        return loss

    def _gathered(self, feed: Feed) -> tuple[Floats, Floats, Floats, Floats]:
        """(columns [n, column], targets [n, step], first guess [n, 1], weights [n]) of a feed's samples."""
        codes, parts = torch.from_numpy(self.setup.codes), list[tuple[Any, ...]]()
        for batch in feed.source.epoch(0):
            real = (batch.weight > 0).cpu()
            x, entity = batch.x.cpu()[real], codes[batch.entity.cpu()[real]]
            columns, base = self.network.columns(x, entity), self._guess(x)
            parts.append((columns, batch.y.cpu()[real].numpy(), base.numpy(), batch.weight.cpu()[real].numpy()))
        return tuple(np.concatenate(arrays) for arrays in zip(*parts))  # type: ignore[return-value]

    def _guess(self, x: Tensor) -> Tensor:
        return self.network.first_guess(x.to(self.setup.device)).cpu()

    def _target(self, y: Floats, base: Floats) -> NDArray[np.float64]:
        known = np.nan_to_num(y.astype(np.float64))
        if self.network.shape.head in ("point", "quantiles"):
            return np.asarray((known - base) / float(self.network.target_std))
        return known

    def _counts(self, y: Floats, weight: Floats) -> Floats:
        counts = np.where(np.isnan(y), 0.0, weight)
        if self.setup.classes is not None:
            counts = counts * self.setup.classes.numpy()[np.nan_to_num(y).round().astype(int)]
        return counts.astype(np.float32)

    def _params(self, level: int) -> dict[str, Any]:
        options, shape = self.network.options, self.network.shape
        found: dict[str, Any] = {
            "objective": OBJECTIVES[self.options.loss],
            "learning_rate": self.options.learning_rate,
            "num_leaves": options.leaves,
            "min_data_in_leaf": options.least,
            "feature_fraction": options.columns,
            "bagging_fraction": options.rows,
            "bagging_freq": int(options.rows < 1),
            "lambda_l2": self.options.weight_decay,
            "num_threads": torch.get_num_threads(),
            "seed": self.setup.seed,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
            "verbosity": -1,
        }
        if shape.head == "quantiles":
            found["alpha"] = shape.levels[level]
        if self.options.loss == "huber":
            found["alpha"] = 1.0
        if shape.head == "classes":
            found["num_class"] = len(shape.classes)
        return found


@contextmanager
def _translated() -> Iterator[None]:
    """Says in our words what LightGBM refuses."""
    import lightgbm

    try:
        yield
    except lightgbm.basic.LightGBMError as error:
        what = f"no trees can be grown: {str(error).strip()}"
        raise WorkFailed(what, where="train", fix="look at the target in gold, and at the options of trees") from None
