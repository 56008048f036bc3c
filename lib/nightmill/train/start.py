"""Beginning with the weights of an earlier model: warm start, frozen weights, low-rank updates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from nightmill.config.usecase import Lora
from nightmill.errors import ConfigError
from nightmill.lake.files import Folder
from nightmill.models.bundle import DESCRIPTION, WEIGHTS, Bundle
from nightmill.models.network import Network
from nightmill.models.shape import Shape


def model_at(place: str, storage_options: dict[str, str] | None = None) -> Bundle:
    """The model whose files lie in a folder or at a URI. Raises what `Bundle.from_files` raises."""
    folder = Folder(place, storage_options or {})
    found = {name: folder.get(name) for name in (WEIGHTS, DESCRIPTION)}
    return Bundle.from_files({name: content for name, content in found.items() if content is not None}, place)


def refuse_other(champion: Bundle, shape: Shape, options: object, where: str) -> None:
    """Raises ConfigError naming what keeps a model of these options from beginning with the champion's weights."""
    theirs, differing = champion.shape, []
    for name in ("features", "lookback", "horizon", "past", "every", "head", "levels", "classes"):
        if getattr(theirs, name) != getattr(shape, name):
            differing.append(f"{name} is {_shown(getattr(shape, name))}, was {_shown(getattr(theirs, name))}")
    if champion.options.model_dump() != options.model_dump():  # type: ignore[attr-defined]
        differing.append("model: has other options")
    if differing:
        what = f"train.start: the champion is another model: {'; '.join(differing)}"
        raise ConfigError(what, where=where, fix="train once without start, or take the options back")


@torch.no_grad()
def take_over(network: Network, champion: Bundle, entities: Sequence[str]) -> None:
    """Copies the champion's weights; an entity that it did not know begins as its mean entity."""
    theirs = dict(champion.network.named_parameters())
    known = {name: code for code, name in enumerate(champion.entities, start=1)}
    codes = torch.tensor([0, *(known.get(name, 0) for name in entities)])
    for name, parameter in network.named_parameters():
        source = theirs[name].to(parameter.device)
        parameter.copy_(source[codes] if name in network.by_entity else source)


def freeze(network: Network, globs: Sequence[str], where: str) -> None:
    """Keeps weights as they are. Raises ConfigError for a glob that fits none, and where nothing is left to train."""
    names = [name for name, _ in network.named_parameters()]
    for name in _matching(names, globs, "train.freeze", where):
        network.get_parameter(name).requires_grad_(False)
    if globs and not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError("train.freeze leaves no weight to train", where=where, fix="freeze fewer")


def add_updates(network: Network, options: Lora, where: str) -> None:
    """Puts low-rank updates beside linear layers and convolutions; from here on only they are trained.

    Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models". Raises ConfigError for a glob that fits no
    layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    chosen = _matching(linear, options.layers, "train.lora.layers", where)
    settings = LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=chosen)
    inject_adapter_in_model(settings, network)


def merge_updates(network: Network) -> None:
    """Adds the updates to their layers, and leaves the layers alone: the network is as one without updates."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())


def _matching(names: Iterable[str], globs: Sequence[str], option: str, where: str) -> list[str]:
    names = list(names)
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise ConfigError(f"{option}: nothing is called '{glob}'", where=where, fix=f"names: {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
