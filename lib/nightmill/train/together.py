"""Trains the members of an ensemble one after the other, each as if it stood alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from nightmill.models.ensemble import Ensemble
from nightmill.train.checkpoint import State
from nightmill.train.loop import Feed, Loop, Setup, Source


@dataclass
class Shortened:
    """A source's batches with the last rows of their windows."""

    source: Source
    lookback: int

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]:
        for batch in self.source.epoch(epoch, start_step):
            yield batch._replace(x=batch.x[:, -self.lookback :])


class Together:
    """As `Loop`, for an ensemble; its history is that of the members in turn, and in the end of all together."""

    def __init__(self, setup: Setup, trainer: Callable[[Setup], Any]) -> None:
        assert isinstance(setup.network, Ensemble)
        self.setup, self.network, self.trainer = setup, setup.network, trainer
        self.resumed_from: int | None = None

    def run(self) -> State:
        """Trains each member; the last line of the history is the validation loss of their mean.

        Raises what the members' trainings raise.
        """
        whole = State()
        options = [self.setup.options.having(member.train) for member in self.network.options.members]
        of = sum(one.epochs for one in options) + 1
        for number, (member, one) in enumerate(zip(self.network.each, options)):
            before = len(whole.history)

            def told(line: dict[str, float], before: int = before) -> None:
                self.setup.on_epoch(line | {"epoch": line["epoch"] + before, "of": of})

            checkpoint = self.setup.checkpoint
            trainer = self.trainer(
                replace(
                    self.setup,
                    network=member,
                    options=one,
                    training=_shortened(self.setup.training, member.shape.lookback),
                    validation=_shortened(self.setup.validation, member.shape.lookback),
                    checkpoint=checkpoint and replace(checkpoint, path=f"{checkpoint.path}.{number}"),
                    whole=self._whole(member.shape.lookback),
                    on_epoch=told,
                    give_up=lambda _: False,  # what a member loses says nothing of their mean
                )
            )
            state = trainer.run()
            if trainer.resumed_from:
                self.resumed_from = (self.resumed_from or 0) + trainer.resumed_from
            whole.history += [line | {"epoch": line["epoch"] + before, "of": of} for line in state.history]
            whole.seconds += state.seconds
        judged = Loop(replace(self.setup, checkpoint=None))
        loss = judged.judge()
        last = whole.history[-1] | {"loss": float("nan"), "validation_loss": loss, "seconds": 0.0}
        whole.history.append(last | {"epoch": last["epoch"] + 1})
        whole.best_loss, whole.best_epoch, whole.epoch = loss, len(whole.history) - 1, len(whole.history)
        self.network.eval()
        return whole

    def _whole(self, lookback: int) -> Callable[[], tuple[Feed, Feed]]:
        def whole() -> tuple[Feed, Feed]:
            assert self.setup.whole is not None
            training, validation = self.setup.whole()
            return _shortened(training, lookback), _shortened(validation, lookback)

        return whole


def _shortened(feed: Feed, lookback: int) -> Feed:
    return replace(feed, source=Shortened(feed.source, lookback))
