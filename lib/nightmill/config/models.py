"""Options of each model family; the modules themselves are in `nightmill.models`, one file per family."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    field_serializer,
    field_validator,
    model_validator,
)

from nightmill.config.values import Fraction, Options


class Stid(Options):
    """Spatial-temporal identity forecaster: entity and time embeddings with a residual MLP."""

    family: Literal["stid"]
    window: PositiveInt = 12
    """Steps of history that the model sees."""
    hidden: PositiveInt = 96
    """Width of the residual blocks."""
    blocks: PositiveInt = 3
    """Residual blocks."""
    embedding: PositiveInt = 32
    """Width of the history, entity, time-of-day and weekend embeddings each."""
    slots: PositiveInt = 48
    """Time-of-day embeddings per day."""
    profile_smoothing: int = Field(default=2, ge=0)
    """Steps on each side over which the time-of-day profile of the training part is averaged."""
    guess: str | None = None
    """Feature that looks a whole horizon ahead, as similar_days does, and is the first guess of each step; the last
    known value without it, and where it is missing."""
    dropout: Fraction = 0.2
    """Share of hidden units dropped in training."""


class _Recurrent(Options):
    window: PositiveInt = 50
    """Steps of history that the model sees; shorter histories are padded with their first row."""
    hidden: PositiveInt = 48
    """Width of each layer."""
    layers: PositiveInt = 2
    """Recurrent layers."""
    dropout: Fraction = 0.2
    """Share of units dropped between layers and before the head in training."""


class Lstm(_Recurrent):
    """Recurrent regressor: LSTM layers, attention pooling over the window, linear head."""

    family: Literal["lstm"]


class Gru(_Recurrent):
    """Recurrent regressor or forecaster with fewer weights than lstm."""

    family: Literal["gru"]


class Cnn1d(Options):
    """Convolutions over time and pooling over the window: for patterns that may stand anywhere in it."""

    family: Literal["cnn1d"]
    window: PositiveInt = 64
    """Steps of history that the model sees."""
    hidden: PositiveInt = 64
    """Channels of each layer."""
    layers: PositiveInt = 3
    """Convolutions."""
    kernel: PositiveInt = 7
    """Steps that a convolution sees."""
    dropout: Fraction = 0.1
    """Share of values dropped after each layer in training."""


class Wdcnn(Options):
    """Convolutions over the samples of a waveform, the first of them wide: hears what a fault sounds like."""

    family: Literal["wdcnn"]
    kernel: PositiveInt = 64
    """Samples that the first convolution sees."""
    stride: PositiveInt = 8
    """Samples from one of its places to the next."""
    hidden: PositiveInt = 64
    """Channels; half of them in the first layer."""
    layers: PositiveInt = 5
    """Convolutions; after each but the last the waveform is half as long."""
    dropout: Fraction = 0.2
    """Share of values dropped before the head in training."""

    @property
    def window(self) -> int:
        """Rows that the model sees."""
        return 1


class Efficientnet(Options):
    """EfficientNet-Lite0 with weights learnt from a million photographs: images with few examples of their own."""

    family: Literal["efficientnet"]
    size: PositiveInt | None = None
    """Pixels of each side to which images are brought; as they are without it."""
    dropout: Fraction = 0.2
    """Share of values dropped before the head in training."""

    @property
    def window(self) -> int:
        """Rows that the model sees."""
        return 1


class Tcn(Options):
    """Causal convolutions whose reach doubles from block to block: (kernel - 1) * 2 * (2^blocks - 1) + 1 steps."""

    family: Literal["tcn"]
    window: PositiveInt = 96
    """Steps of history that the model sees."""
    hidden: PositiveInt = 48
    """Channels."""
    blocks: PositiveInt = 4
    """Residual blocks of two convolutions."""
    kernel: PositiveInt = 3
    """Steps that a convolution sees."""
    dropout: Fraction = 0.1
    """Share of values dropped within a block in training."""


class Nlinear(Options):
    """Linear forecaster over the window less its last value."""

    family: Literal["nlinear"]
    window: PositiveInt = 168
    """Steps of history that the model sees."""


class Patchtst(Options):
    """Transformer over patches of the window."""

    family: Literal["patchtst"]
    window: PositiveInt = 336
    """Steps of history that the model sees."""
    patch: PositiveInt = 16
    """Steps of a patch."""
    stride: PositiveInt = 8
    """Steps from one patch to the next."""
    hidden: PositiveInt = 64
    """Width of a token."""
    heads: PositiveInt = 4
    """Attention heads; they divide hidden."""
    layers: PositiveInt = 2
    """Encoder layers."""
    dropout: Fraction = 0.2
    """Share of values dropped in training."""

    @model_validator(mode="after")
    def _whole_heads(self) -> Patchtst:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self


class Mlp(Options):
    """Regressor over the mean, the slope and the latest mean of each feature in the window."""

    family: Literal["mlp"]
    window: PositiveInt = 50
    """Steps of history that are summarised; shorter histories are padded with their first row."""
    recent: PositiveInt = 10
    """Steps of the latest mean."""
    bins: NonNegativeInt = 0
    """Pieces of the piecewise-linear encoding of each feature's latest mean, beside the z-scores; 0 for none."""
    hidden: PositiveInt = 64
    """Width of each layer."""
    layers: NonNegativeInt = 2
    """Hidden layers; with 0 and no bins it is a linear, or logistic, regression."""
    dropout: Fraction = 0.2
    """Share of units dropped in training."""


class _Detector(Options):
    window: PositiveInt = 40
    """Rows that are seen; alarms of so long ago may still last, and columns that wander are known by such windows."""
    smooth: PositiveInt = 15
    """Rows over which residuals are averaged before they are judged."""
    inputs: list[str] = []
    """Features that drive the others, as set points: they are expected to be what they are."""
    drift: float | None = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Features whose window means wander in training by more than so many times what chance lets independent values
    do are left out; none with null."""
    alarms: Fraction = Field(default=0.05, gt=0, lt=1)
    """Share of the validation windows, which have no faults, that may be above the level of an alarm."""

    @model_validator(mode="after")
    def _room(self) -> _Detector:
        if self.smooth >= self.window:
            raise ValueError(f"smooth ({self.smooth}) must be less than window ({self.window})")
        return self


class Pca(_Detector):
    """Detector by principal components: T2 and Q of smoothed z-scores."""

    family: Literal["pca"]
    share: Fraction = Field(default=0.9, gt=0)
    """Share of the variance that the components of T2 hold; Q is of the rest."""


class StateSpace(_Detector):
    """Detector by a linear state space model of the next row."""

    family: Literal["state_space"]


class NextState(_Detector):
    """Detector by an LSTM that expects the next row."""

    family: Literal["next_state"]
    hidden: PositiveInt = 32
    """Width of the layer."""
    dropout: Fraction = 0.1
    """Share of values dropped before the last layer in training."""


class Autoencoder(_Detector):
    """Detector by a narrow network that repeats the window."""

    family: Literal["autoencoder"]
    hidden: PositiveInt = 64
    """Width of the layers."""
    code: PositiveInt = 8
    """Numbers through which everything must go."""
    dropout: Fraction = 0.1
    """Share of values dropped in training."""


class Patchcore(Options):
    """Detector of images that are unlike good ones, by patches: for products of which no defects were kept."""

    family: Literal["patchcore"]
    size: PositiveInt | None = None
    """Pixels of each side to which images are brought; as they are without it."""
    memory: PositiveInt = 1000
    """Patches that are remembered at most."""
    alarms: Fraction = Field(default=0.05, gt=0, lt=1)
    """Share of the good validation images that may be above the level of an alarm."""

    @property
    def window(self) -> int:
        """Rows that the model sees."""
        return 1

    @property
    def dropout(self) -> float:
        """Nothing is trained."""
        return 0.0


class SeasonalNaive(Options):
    """What was a season ago; nothing is trained."""

    family: Literal["seasonal_naive"]
    window: PositiveInt = 168
    """Steps of history that the model sees: one season or more."""
    season: PositiveInt = 168
    """Steps of a season."""

    @model_validator(mode="after")
    def _whole_season(self) -> SeasonalNaive:
        if self.season > self.window:
            raise ValueError(f"window ({self.window}) must hold a season ({self.season})")
        return self


class Ets(Options):
    """Exponential smoothing of level, damped trend and season."""

    family: Literal["ets"]
    window: PositiveInt = 72
    """Steps of history that are smoothed: two seasons or more."""
    season: NonNegativeInt = 24
    """Steps of a season; 0 for none."""

    @model_validator(mode="after")
    def _two_seasons(self) -> Ets:
        if 2 * self.season > self.window:
            raise ValueError(f"window ({self.window}) must hold two seasons ({self.season})")
        return self


class Trees(Options):
    """Gradient-boosted trees over the latest rows and a summary of the window."""

    family: Literal["trees"]
    window: PositiveInt = 24
    """Steps of history that are summarised; shorter histories are padded with their first row."""
    lags: list[NonNegativeInt] = []
    """Steps back from the origin whose rows are seen as they are; the origin's always is."""
    recent: PositiveInt = 5
    """Steps of the latest mean."""
    entity: bool = True
    """Whether trees may tell entities apart, as a category."""
    together: bool = False
    """Whether the same trees predict all steps ahead and see which it is: where steps are alike and samples are few."""
    rounds: PositiveInt = 20
    """Trees that an epoch adds, for each step ahead."""
    leaves: int = Field(default=31, ge=2)
    """Leaves of a tree at most."""
    least: PositiveInt = 20
    """Samples in a leaf at least."""
    columns: Fraction = Field(default=1.0, gt=0)
    """Share of the columns that a tree may split on."""
    rows: Fraction = Field(default=1.0, gt=0)
    """Share of the samples that a tree is grown from."""


_One = (
    Stid
    | Lstm
    | Gru
    | Cnn1d
    | Wdcnn
    | Efficientnet
    | Tcn
    | Nlinear
    | Patchtst
    | Mlp
    | Pca
    | StateSpace
    | NextState
    | Autoencoder
    | Patchcore
    | Trees
    | SeasonalNaive
    | Ets
)
Single = Annotated[
    _One,
    Field(discriminator="family"),
]
"""Options of one model."""
_SINGLE: TypeAdapter[Any] = TypeAdapter(Single)


class Member(Options):
    """One model of an ensemble."""

    model: Any
    """Family and its options, as in the use case's own model."""
    train: dict[str, Any] = {}
    """Options of train that differ for this member, as in {learning_rate: 0.05, epochs: 20}."""

    @field_validator("model")
    @classmethod
    def _typed(cls, value: Any) -> Any:
        return value if isinstance(value, Options) else _SINGLE.validate_python(value)

    @field_serializer("model")
    def _plain(self, value: Options) -> dict[str, Any]:
        return value.model_dump(mode="json")


class Ensemble(Options):
    """Several models that are trained one after the other, and whose predictions are averaged."""

    family: Literal["ensemble"]
    members: list[Member] = Field(min_length=2)
    """The models."""

    @model_validator(mode="after")
    def _fitted_alike(self) -> Ensemble:
        if len({bins for member in self.members if (bins := getattr(member.model, "bins", 0))}) > 1:
            raise ValueError("members that encode values need the same number of bins")
        if len({m.model.profile_smoothing for m in self.members if hasattr(m.model, "profile_smoothing")}) > 1:
            raise ValueError("members that know profiles need the same profile_smoothing")
        return self

    @property
    def window(self) -> int:
        """The longest window of its members."""
        return max(int(member.model.window) for member in self.members)


ARRAYS = ("wdcnn", "efficientnet", "patchcore")
"""Families that see an array instead of windows of numbers."""
DETECTORS = ("pca", "state_space", "next_state", "autoencoder")
"""Families that say how unlike its training rows an entity is."""
UNUSUAL = (*DETECTORS, "patchcore")
"""Families that say how unlike training something is."""
HEATED = ("efficientnet", "patchcore")
"""Families that show where in an image they look."""
PRETRAINED = ("efficientnet",)
"""Families whose weights are known before any training."""

Model = Annotated[
    _One | Ensemble,
    Field(discriminator="family"),
]
