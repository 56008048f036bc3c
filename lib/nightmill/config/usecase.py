"""A use case: one system of the city or a factory, from its data sets to its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, ValidationError, field_validator, model_validator

from nightmill.config.features import Feature
from nightmill.config.models import ARRAYS, DETECTORS, HEATED, PRETRAINED, UNUSUAL, Ensemble, Member, Model
from nightmill.config.monitor import Monitor
from nightmill.config.search import TRAINED, Search
from nightmill.config.values import Duration, Fraction, Options, Part, Start, one_key, short_duration


class Input(Options):
    """A data set as this use case reads it."""

    from_: str = Field(alias="from")
    """The data set, as in data/city/traffic."""
    as_: Literal["series", "graph", "static", "events", "boxes"] = Field(default="series", alias="as")
    """series: rows in time; graph: weighted edges; static: one row per entity; events: entity and time of each; boxes:
    what people marked in the entity's image, from pixel xmin, ymin to xmax, ymax, counted from 1: to judge by."""
    by: str | None = None
    """graph: the column of the series that its nodes name, if not the entity."""
    complete: bool = False
    """series: only entities that have a value of the target at every step of the table, from its first to its last."""
    every: Duration | None = None
    """series: a row so often for each entity, from its first record on, instead of a row for each record. For inputs
    that only tell of events, as repairs: a failure can be foreseen in the hours between them."""


class RemainingLife(Options):
    """Steps until an entity's next failure, counted from each row."""

    cap: PositiveInt | None = None
    """Longer lives count as this many steps: degradation does not show earlier."""
    until: str | None = None
    """Input of failure events (as: events). Rows after the last failure have no target."""
    rest: str | None = None
    """Static input with column `remaining`: steps after an entity's last row; entities not in it ran to failure."""

    @model_validator(mode="after")
    def _one_truth(self) -> RemainingLife:
        if bool(self.until) == bool(self.rest):
            raise ValueError("remaining_life needs either until (failure events) or rest (remaining steps)")
        return self


class Event(Options):
    """Whether an entity has an event soon: 1 for one after the row and up to `within` later, else 0."""

    of: str
    """Input of the events (as: events)."""
    within: Duration
    """How far ahead. An event at the row's own time is known then and does not count."""


class Target(Options):
    """What is predicted."""

    column: str | None = None
    """The series' column; forecast: at 1 … horizon steps after the origin, else in the origin's own row; detect: that
    is 1 where something was wrong, to judge by, where there is one."""
    horizon: PositiveInt | None = None
    """forecast: steps ahead."""
    remaining_life: RemainingLife | None = None
    """regress: steps until failure."""
    event: Event | None = None
    """classify: whether something happens soon."""
    classes: list[str] = []
    """Names of the classes: the texts that the column holds, or whose position, 0 and on, it holds; for loss
    cross_entropy."""

    @property
    def name(self) -> str:
        """What the predictions table writes in `target`."""
        if not (self.column or self.event or self.remaining_life):
            return "health"
        soon = f"{self.event.of}_within_{short_duration(self.event.within)}" if self.event else "remaining_life"
        return self.column or soon

    @property
    def urgent(self) -> Literal["low", "high"] | None:
        """Which values call for somebody: a short remaining life, a likely event; None where neither end does."""
        return "low" if self.remaining_life else "high" if self.event else None

    @property
    def steps(self) -> int:
        """Number of predicted values per origin."""
        return self.horizon or 1


Loss = Literal[
    "mae", "mse", "huber", "quantile", "poisson", "negative_binomial", "bce", "focal", "cross_entropy", "residual"
]


class Lora(Options):
    """Low-rank updates of linear layers and convolutions, instead of the layers themselves."""

    rank: PositiveInt = 8
    """Rank of an update."""
    alpha: PositiveInt = 16
    """An update counts alpha / rank."""
    layers: list[str] = Field(default=["*"], min_length=1)
    """Globs over the names of the linear layers and convolutions."""


class Noise(Options):
    """White noise; how much is drawn for each sample."""

    kind: Literal["noise"] = "noise"
    between: tuple[float, float]
    """Least and greatest signal-to-noise ratio, dB: 0 is as much noise as signal, 20 a hundredth of its power."""
    share: Fraction = 1.0
    """Share of the samples that have it."""


class Roll(Options):
    """The array turned round along its last axis by a drawn distance: what leaves at its end comes in at its start."""

    kind: Literal["roll"] = "roll"


class Flip(Options):
    """The array mirrored, for half of the samples."""

    kind: Literal["flip"] = "flip"
    axes: list[Literal["horizontal", "vertical"]] = ["horizontal"]
    """horizontal: along its last axis; vertical: along the one before."""


class Scale(Options):
    """The array times a drawn factor."""

    kind: Literal["scale"] = "scale"
    by: Fraction = 0.2
    """Share by which it may be greater or less."""


Augment = Annotated[
    Annotated[Noise | Roll | Flip | Scale, Field(discriminator="kind")],
    BeforeValidator(
        one_key(
            "a way to augment", "- noise: {between: [0, 20]}", short={"noise": "between", "flip": "axes", "scale": "by"}
        )
    ),
]


class Train(Options):
    """How the model is trained."""

    history: Duration | None = None
    """Days of gold before the night that are used; all without it."""
    due: Literal["nightly", "weekly", "monthly"] = "weekly"
    """How often it is trained."""
    epochs: PositiveInt = 30
    """Passes over the training samples at most."""
    patience: PositiveInt | None = None
    """Stop after this many epochs without a better validation loss, and keep the best; without it the last counts."""
    batch: PositiveInt = 1024
    """Samples per step over all workers."""
    loss: Loss = "mae"
    """What training makes small, and with it what is predicted. mae, mse, huber (of errors in units of the target's
    standard deviation, delta 1): one value; quantile: the median and the ends of score.interval; poisson,
    negative_binomial: the mean of a count; bce, focal: the probability of a target that is 0 or 1; cross_entropy: a
    class; residual: what a detector did not expect, whatever is true."""
    overestimate: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """mae, mse, huber: how many times as much an error counts where the prediction is above the truth: above 1 where
    that is the costly side, as of a remaining life."""
    accumulate: PositiveInt = 1
    """Parts in which a worker takes its samples of a step, one after the other: less memory, the same gradient."""
    weight: str | None = None
    """Feature that says how much a sample counts, at its origin: 0 or more; all alike without it."""
    balance: bool = False
    """bce, focal, cross_entropy: classes count alike, however rare. Probabilities are then no shares any more."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """sgd has Nesterov's momentum of 0.9."""
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    """Peak learning rate."""
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Decoupled weight decay (AdamW)."""
    augment: list[Augment] = []
    """Ways in which training samples of arrays are changed, anew each time they are seen."""
    schedule: Literal["constant", "one_cycle", "cosine"] = "constant"
    """Learning rate over the run; cosine: up in a line over the first 5 % of the steps, then down to 0."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's matrix products; auto is bfloat16 on GPUs. Weights, heads and losses are float32 always."""
    compile: bool = False
    """Whether torch.compile makes one program of the network: a minute at the start, less time for each step."""
    clip: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Largest gradient norm."""
    start: Literal["champion"] | None = None
    """champion: go on from its weights and keep its scales, once there is one; anew without it."""
    freeze: list[str] = []
    """Globs over the names of weights that stay as they are; with start, or of a pretrained family."""
    lora: Lora | None = None
    """Train only low-rank updates of linear layers and of convolutions; with start, or of a pretrained family."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the averaged weights that validation and scoring use; none without it."""
    seed: int = 0
    """Seed of weights, order of samples and dropout."""
    workers: int = Field(default=2, ge=0)
    """Ray Train workers; 0 trains in this process."""
    min_workers: PositiveInt | None = None
    """Fewest workers that go on where machines are lost, until there are more again; all of them without it."""
    checkpoint_steps: PositiveInt = 200
    """Steps between checkpoints within an epoch; an epoch ends with one, unless the last is less than a second old."""

    def having(self, options: Mapping[str, Any]) -> Train:
        """The same with other values, as of one model of an ensemble. Raises pydantic's ValidationError."""
        return Train.model_validate(self.model_dump(mode="json") | dict(options))


Metric = Literal[
    "mae",
    "rmse",
    "mape",
    "nasa_score",
    "pr_auc",
    "f1",
    "recall",
    "accuracy",
    "false_alarm_rate",
    "missed_alarm_rate",
    "pinball",
]
Baseline = Literal[
    "last_value", "window_mean", "tsb", "time_of_day_mean", "mean_life", "mean", "most_frequent", "always"
]


class Score(Options):
    """How predictions are made."""

    origins: Literal["last", "each"] = "last"
    """last: what is ahead of each entity's last row of the day; each: from every row of the day."""
    interval: Fraction = Field(default=0.8, gt=0, lt=1)
    """Share of true values that should fall between lo and hi."""
    fallback: Baseline | Literal["none"] | None = None
    """Naive rule that predicts where the model cannot: too few rows before the origin, entities that it does not know,
    no row at all; the first of `evaluate.baselines` without it. none: nothing is predicted there."""


class ByTime(Options):
    """Split in time: training first, then validation, then test."""

    validation: Part = 0.1
    """Share of the time steps before the test, as 10 %, or how long it is, as 30 d or 1 month, or its first
    day, as 2020-08-01."""
    test: Part = 0.2
    """Share of the time steps at the end, or how long it is, or its first day."""
    reach_back: bool = False
    """Windows of validation and test may begin in the part before, as a night's do; else they lie inside theirs."""

    @model_validator(mode="after")
    def _some_train(self) -> ByTime:
        shares = [part for part in (self.validation, self.test) if isinstance(part, float)]
        days = [part for part in (self.validation, self.test) if isinstance(part, date)]
        if sum(shares) >= 1 or (len(days) == 2 and days[0] >= days[1]):
            raise ValueError("validation and test together leave nothing to train on")
        return self


class ByEntity(Options):
    """Split by entity; the test is predicted once per entity, from its last row."""

    validation: Fraction = 0.2
    """Share of the other entities, each cut at ten points of its life as the test is at one."""
    test: str | None = None
    """Glob over entity names that are the test, as in test/*; without it a share as large as validation's."""


class ByFolds(Options):
    """Cross-validation by entity: each is in the test of one fold; the folds' targets are alike.

    A backtest trains a model per fold and tells the mean of their figures; a night judges by the first fold.
    """

    count: int = Field(default=5, ge=2)
    """Folds."""
    validation: Fraction = Field(default=0.2, gt=0, lt=1)
    """Share of the other folds' entities."""


class ByStart(Options):
    """Split of each entity's own rows: its first ones train and validate, all that follow test."""

    rows: Start
    """How many, as 400, or which share of its rows, as 80 %."""
    validation: Fraction = Field(default=0.2, gt=0, lt=1)
    """Share of these that validate, the last ones."""
    reach_back: bool = False
    """Windows of validation and test may begin in the part before."""


class Split(Options):
    """Which samples train, validate and test. One of the four."""

    time: ByTime | None = None
    """Windows lie inside one part."""
    entity: ByEntity | None = None
    """An entity is in one part only."""
    folds: ByFolds | None = None
    """As entity, and each is tested once."""
    start: ByStart | None = None
    """Each entity's first rows train."""

    @model_validator(mode="after")
    def _one(self) -> Split:
        if sum(way is not None for way in (self.time, self.entity, self.folds, self.start)) != 1:
            raise ValueError("split needs one of time, entity, folds and start")
        return self

    @property
    def count(self) -> int:
        """Models that it takes to test with all that it tests."""
        return self.folds.count if self.folds else 1


class Evaluate(Options):
    """How a model is judged."""

    split: Split = Split(time=ByTime())
    """Which samples train, validate and test."""
    metrics: list[Metric] = ["mae", "rmse"]
    """The first one decides promotion."""
    baselines: list[Baseline] = Field(default=["last_value"], min_length=1)
    """Naive predictions to beat; the first must be beaten for promotion."""
    at: list[PositiveInt] | None = None
    """Horizons that are reported one by one; the mean over all is always reported."""
    origins: Literal["last", "each"] = "each"
    """Origins of the test that count: last are those that a night predicts from, the last row of each local day."""
    by: str | None = None
    """Column of a feature of kind categories: figures are worked out for each category, and the mean of them counts."""
    levels: list[Annotated[Fraction, Field(gt=0, lt=1)]] = Field(default=[0.1, 0.5, 0.9], min_length=1)
    """Levels of the quantiles that metric pinball judges."""
    budget: Fraction = Field(default=0.05, gt=0)
    """Share of the origins that may raise an alarm; for metric recall."""
    seeds: PositiveInt = 3
    """Models that a backtest trains, each from another seed."""


class UseCase(Options):
    """One system: what it reads, what it predicts, how it is trained, scored and judged."""

    name: str = ""
    """Set from the file's place: conf/city/traffic.yaml is city/traffic."""
    title: str
    """One line for people."""
    task: Literal["forecast", "regress", "classify", "detect"]
    """forecast: values ahead in time; regress: a value of now; classify: which class it is now; detect: a health index
    of now, above 1 where something is unlike the training rows."""
    inputs: dict[str, Input] = Field(min_length=1)
    """Name -> data set; the first is the series whose entities are predicted."""
    target: Target = Target()
    """What is predicted."""
    features: list[Feature] = Field(min_length=1)
    """What the model sees of each row."""
    model: Model
    """Family and its options."""
    train: Train = Train()
    """How the model is trained."""
    search: Search | None = None
    """Options that `nightmill search` tries."""
    score: Score = Score()
    """How predictions are made."""
    evaluate: Evaluate = Evaluate()
    """How a model is judged."""
    monitor: Monitor = Monitor()
    """What is an alarm."""

    @field_validator("inputs", mode="before")
    @classmethod
    def _short_inputs(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: {"from": item} if isinstance(item, str) else item for name, item in value.items()}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> UseCase:
        if (self.train.loss == "cross_entropy") != (len(self.target.classes) > 1):
            raise ValueError("train.loss cross_entropy and target.classes (two or more) need each other")
        if (self.train.freeze or self.train.lora) and self.train.start is None and not self.is_pretrained:
            raise ValueError("train.freeze and train.lora need train.start: champion, or a family that is pretrained")
        if self.train.min_workers is not None and self.train.min_workers > self.train.workers:
            raise ValueError("train.min_workers is at most train.workers")
        if self.train.balance and self.train.loss not in ("bce", "focal", "cross_entropy"):
            raise ValueError("train.balance is for train.loss bce, focal and cross_entropy")
        if self.train.overestimate != 1 and self.train.loss not in ("mae", "mse", "huber"):
            raise ValueError("train.overestimate is for train.loss mae, mse and huber")
        kinds = {name: item.as_ for name, item in self.inputs.items()}
        beyond = [step for step in self.evaluate.at or () if step > self.target.steps]
        if beyond:
            raise ValueError(f"evaluate.at names step {beyond[0]}, but the target has {self.target.steps}")
        if next(iter(kinds.values())) != "series":
            raise ValueError("the first input must be a series: its entities are what is predicted")
        if sparse := [name for name, item in self.inputs.items() if item.every and item is not self.series]:
            raise ValueError(f"inputs.{sparse[0]}: every is for the first input, whose entities are predicted")
        if odd := [n for n, i in self.inputs.items() if i.complete and (i is not self.series or i.every)]:
            raise ValueError(f"inputs.{odd[0]}: complete is for the first input, without a step of its own")
        if self.series.complete and not self.target.column:
            raise ValueError("inputs: complete needs target.column")
        if self.task == "forecast" and not (self.target.column and self.target.horizon):
            raise ValueError("a forecast needs target.column and target.horizon")
        self._targets()
        if "mean_life" in (self.fallback, *self.evaluate.baselines) and self.target.remaining_life is None:
            raise ValueError("baseline and fallback mean_life need target.remaining_life")
        if "most_frequent" in (self.fallback, *self.evaluate.baselines) and not self.target.classes:
            raise ValueError("baseline and fallback most_frequent need target.classes: choose mean")
        past = [
            name for name in ("last_value", "window_mean", "tsb") if name in {self.fallback, *self.evaluate.baselines}
        ]
        if past and self.task != "forecast":
            instead = "mean_life" if self.target.remaining_life else "mean"
            raise ValueError(f"baseline and fallback {past[0]} need a forecast: choose {instead}")
        wanted = [(f.over, "graph") for f in self.features if f.kind == "neighbours"]
        wanted += [(f.of, "events") for f in self.features if f.kind == "events"]
        wanted += [(name, "static") for name in self.statics]
        if life := self.target.remaining_life:
            wanted.append((life.until, "events") if life.until else (str(life.rest), "static"))
        if self.target.event:
            wanted.append((self.target.event.of, "events"))
        wanted += [(item.split(".")[0], "static") for item in self.monitor.by]
        for name, kind in wanted:
            if kinds.get(name) != kind:
                raise ValueError(f"'{name}' must be one of the inputs, with as: {kind}")
        if self.evaluate.by and not self.grouped_by:
            raise ValueError(f"evaluate.by: no feature of kind categories is of '{self.evaluate.by}'")
        self._arrays_fit()
        self._families_fit()
        self._searchable()
        return self

    def _arrays_fit(self) -> None:
        arrays = [feature for feature in self.features if feature.kind == "array"]
        if arrays and len(self.features) > 1:
            raise ValueError("features: an array is all that a model for arrays sees: leave the others out")
        members = self.model.members if isinstance(self.model, Ensemble) else [Member(model=self.model)]
        for member in members:
            if (member.model.family in ARRAYS) != bool(arrays):
                what, instead = ("an array", ", ".join(ARRAYS)) if arrays else ("numbers", "another family")
                raise ValueError(f"model family {member.model.family} does not see {what}: choose {instead}")
        if "boxes" in {item.as_ for item in self.inputs.values()} and self.model.family not in HEATED:
            raise ValueError(f"boxes judge heat maps, which only {', '.join(HEATED)} have: leave them out")
        if self.train.augment and not arrays:
            raise ValueError("train.augment is for arrays")

    def _targets(self) -> None:
        target, classes = self.target, ("bce", "focal", "cross_entropy")
        if self.task != "forecast" and target.horizon:
            raise ValueError(f"task {self.task} is of now: leave target.horizon out, or choose task forecast")
        if self.task == "regress" and (target.event or (target.remaining_life is None) == (target.column is None)):
            raise ValueError("task regress needs one of target.column and target.remaining_life")
        if self.task == "classify" and (target.remaining_life or (target.column is None) == (target.event is None)):
            raise ValueError("task classify needs one of target.column and target.event")
        if (self.task == "detect") != (self.train.loss == "residual"):
            raise ValueError("task detect and train.loss residual need each other")
        if self.task == "detect" and (target.remaining_life or target.event):
            raise ValueError("task detect has at most target.column, to judge by")
        if self.task == "classify" and self.train.loss not in classes:
            raise ValueError("task classify needs train.loss bce, focal or cross_entropy")
        if self.task == "forecast" and target.event:
            raise ValueError("target.event is for task classify")
        if target.event and self.train.loss == "cross_entropy":
            raise ValueError("an event comes or does not: train.loss is bce or focal")
        alarms = ("pr_auc", "f1", "recall", "false_alarm_rate", "missed_alarm_rate")
        judged = {"accuracy": [classes[2]], "pinball": ["quantile", "poisson", "negative_binomial"]} | {
            name: [*classes[:2], "residual"] for name in alarms
        }
        for metric in self.evaluate.metrics:
            if self.train.loss not in (losses := judged.get(metric, [self.train.loss])):
                raise ValueError(f"metric {metric} needs train.loss {' or '.join(losses)}")
        if self.task == "forecast":
            return
        for feature in self.features:
            if target.column and target.column in (*feature.names, *feature.reads):
                raise ValueError(f"features hold the target '{target.column}' of the very row that is predicted")

    def _families_fit(self) -> None:
        members = self.model.members if isinstance(self.model, Ensemble) else [Member(model=self.model)]
        for member in members:
            family = member.model.family
            if family in ("stid", "nlinear", "seasonal_naive", "ets") and self.task != "forecast":
                raise ValueError(f"model family {family} forecasts; for task regress choose mlp, lstm or trees")
            if (family in UNUSUAL) != (self.task == "detect"):
                instead = "forecast, regress or classify" if self.task == "detect" else "detect"
                raise ValueError(f"model family {family} is for task {instead}")
            if family in UNUSUAL and self.train.start:
                raise ValueError("what is normal is learnt anew: leave train.start out")
            if family in DETECTORS:
                self._detects(member.model.inputs)
            if family == "stid" and member.model.guess:
                self._guess_fits(member.model.guess, member.model.window)
            if family == "trees" and self.train.start:
                raise ValueError("model family trees grows anew: leave train.start out")
            if family == "trees" and self.train.loss == "focal":
                raise ValueError("model family trees has no train.loss focal: choose bce")
            if family == "trees" and self.train.overestimate != 1:
                raise ValueError("model family trees has no train.overestimate: choose train.loss quantile")
            if beyond := [name for name in member.train if name not in TRAINED]:
                raise ValueError(f"a member has no train.{beyond[0]} of its own; it may have {', '.join(TRAINED)}")
            if self.train.having(member.train).ema and family == "trees":
                place = "train.ema of its member" if "ema" in member.train else "train.ema"
                raise ValueError(f"model family trees grows anew: leave {place} out")
        if isinstance(self.model, Ensemble) and self.train.start:
            raise ValueError("an ensemble is trained anew: leave train.start out")

    def _guess_fits(self, guess: str, window: int) -> None:
        ahead = [name for f in self.features if getattr(f, "ahead", None) for name in f.names]
        if guess not in ahead:
            known = f": {', '.join(ahead)}" if ahead else ", as of similar_days with ahead"
            raise ValueError(f"model.guess: '{guess}' is no feature that looks ahead; name one{known}")
        if window < self.target.steps:
            raise ValueError(
                f"model.guess needs a window of {self.target.steps} rows: those a horizon before the steps"
            )

    def _detects(self, inputs: list[str]) -> None:
        if unknown := [name for name in inputs if name not in self.feature_names]:
            raise ValueError(f"model.inputs: '{unknown[0]}' is none of the features")
        if len(inputs) == len(self.feature_names):
            raise ValueError("model.inputs names all features: some must be states, which faults show in")

    def _searchable(self) -> None:
        if self.search is None:
            return
        known = [f"model.{name}" for name in type(self.model).model_fields if name != "family"]
        known += [f"train.{name}" for name in TRAINED]
        for name in self.search.space:
            if name not in known:
                near = get_close_matches(name, known, 1, 0.5)
                fix = f"did you mean '{near[0]}'?" if near else f"choose of: {', '.join(known)}"
                raise ValueError(f"search.space: '{name}' cannot be searched; {fix}")
            for value in self.search.ends(name):
                try:
                    self.having({name: value})
                except ValidationError as error:
                    why = error.errors()[0]["msg"].removeprefix("Value error, ")
                    raise ValueError(f"search.space: {name} cannot be {value}: {why}") from None

    def having(self, options: Mapping[str, Any]) -> UseCase:
        """The same with other values of dotted options, as model.hidden, and nothing to search.

        Raises pydantic's ValidationError where they do not fit.
        """
        data = self.model_dump(mode="json", by_alias=True) | {"search": None}
        for name, value in options.items():
            section, _, option = name.partition(".")
            data[section][option] = value
        return UseCase.model_validate(data)

    @property
    def fallback(self) -> Baseline | None:
        """The naive rule that predicts where the model cannot; of what is unusual there is none."""
        if self.task == "detect":
            return None
        chosen = self.score.fallback or self.evaluate.baselines[0]
        return None if chosen == "none" else chosen

    @property
    def feature_names(self) -> list[str]:
        """Columns that the model sees, in order, each once."""
        return list(dict.fromkeys(name for feature in self.features for name in feature.names))

    @property
    def is_pretrained(self) -> bool:
        """Whether the model knows something before it is trained."""
        return self.model.family in PRETRAINED

    @property
    def array(self) -> str | None:
        """The column whose arrays the model sees instead of numbers."""
        return next((feature.of for feature in self.features if feature.kind == "array"), None)

    @property
    def grouped_by(self) -> list[str]:
        """Features that say which category of `evaluate.by` a row is of."""
        kinds = [f for f in self.features if f.kind == "categories" and f.of == self.evaluate.by]
        return kinds[0].names if kinds else []

    @property
    def series(self) -> Input:
        """The input whose entities are predicted."""
        return next(iter(self.inputs.values()))

    @property
    def engineered(self) -> list[str]:
        """Inputs that features and target are made of; static ones beside them say what or where an entity is."""
        rest = self.target.remaining_life.rest if self.target.remaining_life else None
        read = {rest, *self.statics}
        return [name for name, item in self.inputs.items() if item.as_ not in ("static", "boxes") or name in read]

    @property
    def statics(self) -> list[str]:
        """Static inputs that features read, as machines of `columns: [machines.age]`."""
        names = [name.partition(".")[0] for feature in self.features for name in feature.reads if "." in name]
        return list(dict.fromkeys(names))
