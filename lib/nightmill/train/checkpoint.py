"""One safetensors file that holds all a training needs to go on; JSON facts are in its header."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from nightmill.config.usecase import Train
from nightmill.errors import ConfigError, WorkFailed
from nightmill.lake.files import Folder

HEADER = "nightmill"
FORMAT = 1


@dataclass
class State:
    """Where a training stands. With the tensors of model, average, optimiser and best weights it is the checkpoint.

    Learning rates and random numbers are functions of (seed, step, rank), so neither needs a state of its own.
    """

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps done of the epoch that is under way."""
    loss_sum: float = 0.0
    loss_weight: float = 0.0
    """Sums of the epoch that is under way."""
    best_loss: float = float("inf")
    best_epoch: int = -1
    stopped: bool = False
    """Whether patience ran out, or the training was given up."""
    given_up: bool = False
    """Whether a search gave it up."""
    seconds: float = 0.0
    """Spent in training and validation, over all attempts."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Per finished epoch: epoch (from 1), of, loss, validation_loss, learning_rate, seconds, samples_per_second."""

    def judged(self, loss: float, options: Train) -> bool:
        """Notes the validation loss of the epoch under way; whether patience has run out."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
        return options.patience is not None and self.epoch - self.best_epoch >= options.patience

    def chosen_loss(self, options: Train) -> float:
        """Validation loss of the weights that were chosen. Raises WorkFailed where it is no number."""
        loss = self.best_loss if options.patience is not None else self.history[-1]["validation_loss"]
        if not math.isfinite(loss):
            fix = "look for extreme values of the target in gold; lower train.learning_rate or set train.clip"
            raise WorkFailed("the validation loss is not a number", where="train", fix=fix)
        return loss


@dataclass(frozen=True)
class Identity:
    """What a checkpoint belongs to: anything else is refused."""

    use_case: str
    configuration: str
    """Digest of the options that shape the result; the number of workers is none of them."""
    gold: dict[str, Any]
    """Pinned version and files."""
    samples: str
    """Hash of the training plan."""
    seed: int

    def refuse(self, other: dict[str, Any], where: str) -> None:
        """Raises ConfigError naming what differs between this training and a checkpoint's identity."""
        names = {
            "use_case": "use case",
            "configuration": "configuration",
            "gold": "gold version and files",
            "samples": "training samples",
            "seed": "seed",
        }
        differing = [label for key, label in names.items() if other.get(key) != getattr(self, key)]
        if differing:
            shown = f" ({other.get('use_case')} instead of {self.use_case})" if differing[0] == "use case" else ""
            raise ConfigError(
                f"the checkpoint belongs to another training: {', '.join(differing)} differ{shown}",
                where=where,
                fix="remove the checkpoint to train anew, or name the use case and options that it belongs to",
            )


@dataclass(frozen=True)
class Checkpoint:
    """The place of one training's checkpoint, and whose it is."""

    path: str
    identity: Identity
    storage_options: dict[str, str] = field(default_factory=dict)

    def save(self, state: State, tensors: dict[str, Tensor], world: int) -> None:
        """Replaces the file atomically. Raises WorkFailed on a full disk; the former file then stays."""
        facts = {"format": FORMAT, "identity": vars(self.identity), "state": vars(state), "world": world}
        content = save(
            {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {HEADER: json.dumps(facts)}
        )
        folder, name = Folder.of(self.path, self.storage_options)
        folder.put(name, content)

    def load(self) -> tuple[State, dict[str, Tensor]] | None:
        """(state, tensors on the CPU), None where there is no checkpoint yet.

        Raises ConfigError where the file is of another training or cannot be read.
        """
        folder, name = Folder.of(self.path, self.storage_options)
        content = folder.get(name)
        if content is None:
            return None
        try:
            tensors = load(content)
            size = int.from_bytes(content[:8], "little")
            facts = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][HEADER])
        except (SafetensorError, ValueError, KeyError) as error:
            raise ConfigError(
                f"this is no checkpoint of Nightmill: {error}", where=self.path, fix="remove it to train anew"
            ) from None
        if facts.get("format") != FORMAT:
            raise ConfigError(
                "the checkpoint was written by another version", where=self.path, fix="remove it to train anew"
            )
        self.identity.refuse(facts["identity"], self.path)
        return State(**facts["state"]), tensors


def fingerprint(path: str, storage_options: dict[str, str] | None = None) -> str:
    """What tells one state of a checkpoint's file from another; empty where there is none."""
    folder, name = Folder.of(path, storage_options)
    content = folder.get(name)
    return hashlib.sha256(content).hexdigest() if content else ""


def pack(
    network: nn.Module, optimiser: torch.optim.Optimizer, extra: dict[str, dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: model.*, optimiser.<parameter>.*, and one prefix for each of `extra`."""
    tensors: dict[str, Tensor] = {f"model.{name}": parameter for name, parameter in network.named_parameters()}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}.{key}"] = value
    for prefix, group in extra.items():
        tensors |= {f"{prefix}.{name}": tensor for name, tensor in group.items()}
    # safetensors refuses tensors that share memory
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def unpack(tensors: dict[str, Tensor], network: nn.Module, optimiser: torch.optim.Optimizer, where: str) -> None:
    """Puts model.* and optimiser.* back, on the network's device. Raises ConfigError where names or sizes differ."""
    for name, parameter in network.named_parameters():
        stored = tensors.get(f"model.{name}")
        if stored is None or stored.shape != parameter.shape:
            found = "missing" if stored is None else f"{list(stored.shape)} instead of {list(parameter.shape)}"
            raise ConfigError(
                f"the checkpoint belongs to another model: {name} is {found}", where=where, fix="remove the checkpoint"
            )
        parameter.copy_(stored)
        prefix = f"optimiser.{name}."
        kept = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        if kept:
            optimiser.state[parameter] = {key: tensor.to(parameter.device) for key, tensor in kept.items()}


def group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below one prefix of `pack`'s extra, without it; empty where there are none."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
