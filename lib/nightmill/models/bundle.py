"""A trained model as two files that any machine with torch can read: safetensors and JSON, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nightmill.config.models import Model
from nightmill.errors import ConfigError, DataRefused
from nightmill.models import FAMILIES, build
from nightmill.models.interval import Interval
from nightmill.models.naive import Fallback
from nightmill.models.network import Network
from nightmill.models.shape import Shape, Windows

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
FORMAT = 3
"""Version of the description's layout."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_RULE = "fallback."
"""Begins the names of the fallback's arrays among the weights."""


class Predicted(NamedTuple):
    """What is predicted of some origins, [n, steps] each in the target's unit."""

    value: Floats
    lo: Floats
    hi: Floats
    sure: Floats | None
    """Probability of the class that is predicted; None where it is no class."""

    def first(self, count: int) -> Predicted:
        """Of the first origins only."""
        sure = None if self.sure is None else self.sure[:count]
        return Predicted(self.value[:count], self.lo[:count], self.hi[:count], sure)


@dataclass
class Bundle:
    """A module and everything needed to predict with it elsewhere, and to say where it came from."""

    network: Network
    options: Any
    """The family's options, one of `nightmill.config.models`."""
    entities: list[str]
    """Vocabulary: the entity with code c is entities[c - 1]; code 0 is every other one."""
    interval: Interval
    use_case: str
    target: str
    """What predictions are called in the predictions table."""
    config: str
    """Digest of the options that shaped the training."""
    gold: dict[str, Any]
    """The pinned table: version and files, as the hand-off writes it."""
    seed: int
    training: dict[str, Any] = field(default_factory=dict)
    """All that was asked of the training, as plain values: what it takes to train the same weights again."""
    metrics: dict[str, float] = field(default_factory=dict)
    """On the validation part."""
    deciles: list[float] = field(default_factory=list)
    """The nine values that part its predictions on the validation part into tenths; later ones are held to them."""
    fallback: Fallback | None = None
    """What is predicted where the model cannot; models of older versions have none."""
    threshold: float | None = None
    """Of probabilities the least that is an alarm, of the greatest F1 on the validation part; None for all else."""

    @property
    def shape(self) -> Shape:
        """What the model sees and predicts."""
        return self.network.shape

    def to(self, device: torch.device | str) -> Bundle:
        """Moves the weights to a device; returns itself."""
        self.network.to(device)
        return self

    def codes(self, entities: list[str]) -> NDArray[np.int64]:
        """[len(entities)] the vocabulary's codes of a gold's entities, 0 for those that training did not know."""
        known = {name: code for code, name in enumerate(self.entities, start=1)}
        return np.array([known.get(name, 0) for name in entities], dtype=np.int64)

    @torch.inference_mode()
    def predict(self, batch: Windows, codes: NDArray[np.int64]) -> Predicted:
        """What is predicted of a batch.

        `codes` is `codes(index.entities)`: batch.entity holds positions in that index, not the model's own codes.
        """
        device = self.network.mean.device
        if self.network.training:  # asked first, as it goes through all layers
            self.network.eval()
        entity = torch.from_numpy(codes).to(device)[batch.entity.to(device)]
        found = self.network.expects(batch.x.to(device), entity, self.interval.share)
        lower = found.lower.cpu().numpy()
        upper = lower if found.upper is found.lower else found.upper.cpu().numpy()
        lo, hi = self.interval.round(lower, upper)
        sure = None if found.sure is None else found.sure.cpu().numpy()
        return Predicted(found.value.cpu().numpy(), self.shape.within(lo), self.shape.within(hi), sure)

    @torch.inference_mode()
    def quantiles(self, batch: Windows, codes: NDArray[np.int64], levels: Sequence[float]) -> Floats:
        """[n, steps, levels] quantiles that the head expects; the other arguments are those of `predict`."""
        device = self.network.mean.device
        self.network.eval()
        entity = torch.from_numpy(codes).to(device)[batch.entity.to(device)]
        return np.asarray(self.network.quantiles(batch.x.to(device), entity, levels).cpu().numpy())

    def fall_back(self, code: Ints, ts: Ints, own: Floats, late: Ints) -> Predicted:
        """As `predict`, by the naive rule; see `Fallback.predict`. The bundle must have one."""
        assert self.fallback is not None
        value, lo, hi = (self.shape.within(part) for part in self.fallback.predict(code, ts, own, late))
        return Predicted(value, lo, hi, None)

    def to_files(self) -> dict[str, bytes]:
        """File name -> content. The same bundle gives the same bytes."""
        state = self.network.state_dict()
        # members of an ensemble may share what was fitted, and safetensors refuses tensors that share memory
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        if self.fallback is not None:
            weights |= {_RULE + name: torch.from_numpy(array) for name, array in self.fallback.rule.state.items()}
        description = {
            "format": FORMAT,
            "use_case": self.use_case,
            "target": self.target,
            "options": self.options.model_dump(mode="json"),
            "shape": self.shape.to_json(),
            "entities": self.entities,
            "interval": self.interval.to_json(),
            "config": self.config,
            "gold": self.gold,
            "seed": self.seed,
            "training": self.training,
            "metrics": {name: _number(value) for name, value in self.metrics.items()},
            "deciles": [float(value) for value in self.deciles],
            "threshold": None if self.threshold is None else _number(self.threshold),
            "fallback": None if self.fallback is None else self.fallback.to_json(),
        }
        text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
        return {WEIGHTS: save(weights), DESCRIPTION: text.encode()}

    @classmethod
    def from_files(cls, files: dict[str, bytes], where: str = "") -> Bundle:
        """The inverse of `to_files`, on the CPU. `where` names the files in messages.

        Raises DataRefused where a file is absent or unreadable, ConfigError where the files do not fit each other.
        """
        for name in (WEIGHTS, DESCRIPTION):
            if name not in files:
                raise DataRefused(f"the model's file {name} is missing", where=where, fix="train the model again")
        with _readable(where):
            data, weights = json.loads(files[DESCRIPTION]), load(files[WEIGHTS])
        return _assemble(data, weights, where)

    @classmethod
    def described(cls, description: bytes, where: str = "") -> Bundle:
        """All but what was learnt, from the description alone: it knows what it needs, and must not predict.

        Takes no memory for weights of entities. Raises what `from_files` raises.
        """
        with _readable(where):
            data = json.loads(description)
        return _without_weights(data, None, where)


@contextmanager
def _readable(where: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, SafetensorError) as error:
        fix = "restore them, or train the model again"
        raise DataRefused(f"the model's files cannot be read: {error}", where=where, fix=fix) from None


def _without_weights(data: Any, rule: dict[str, Any] | None, where: str) -> Bundle:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ConfigError(
            f"the model's description is not of format {FORMAT}",
            where=where,
            fix="it was written by another version of Nightmill; train the model again",
        )
    try:
        if data["options"]["family"] not in FAMILIES:
            raise ConfigError(f"model family '{data['options']['family']}' is not known here", where=where)
        options: Any = TypeAdapter(Model).validate_python(data["options"])
        shape = Shape.from_json(data["shape"])
        network = build(options, shape if rule is not None else replace(shape, entities=0))
        network.shape = shape
        return Bundle(
            network=network,
            options=options,
            entities=list(data["entities"]),
            interval=Interval.from_json(data["interval"]),
            **{name: data[name] for name in ("use_case", "target", "config", "gold", "seed", "training")},
            metrics={name: np.nan if value is None else value for name, value in data["metrics"].items()},
            deciles=list(data.get("deciles", [])),
            threshold=data.get("threshold"),
            fallback=Fallback.from_json(data["fallback"], rule) if data.get("fallback") else None,
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise ConfigError(
            f"the model's description is incomplete: {error}", where=where, fix="train the model again"
        ) from None


def _assemble(data: Any, found: dict[str, Tensor], where: str) -> Bundle:
    weights = {name: tensor for name, tensor in found.items() if not name.startswith(_RULE)}
    rule = {name.removeprefix(_RULE): tensor.numpy() for name, tensor in found.items() if name not in weights}
    bundle = _without_weights(data, rule, where)
    network = bundle.network
    network.make_room(weights)
    if problem := differences(network, weights) or _sizes(bundle):
        raise ConfigError(
            f"the weights do not belong to this description of {bundle.use_case}: {problem}",
            where=where,
            fix="take both files from the same model version",
        )
    network.load_state_dict(weights)
    network.eval()
    return bundle


def differences(network: Network, weights: dict[str, Tensor]) -> str:
    """What makes `weights` unfit for `network`, in words; empty where they fit."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} is unknown to {type(network).__name__}" for name in found if name not in wanted]
    problems += [
        f"{name} is {list(found[name])} instead of {list(size)}"
        for name, size in wanted.items()
        if found.get(name, size) != size
    ]
    return "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")


def _sizes(bundle: Bundle) -> str:
    shape = bundle.shape
    if len(bundle.entities) != shape.entities:
        return f"{len(bundle.entities)} entities are named instead of {shape.entities}"
    if len(bundle.interval.steps) != shape.steps:
        return f"intervals are given for {len(bundle.interval.steps)} steps instead of {shape.steps}"
    return ""


def _number(value: float) -> float | None:
    """JSON has neither NaN nor infinity; both are written as null."""
    return float(value) if np.isfinite(value) else None
