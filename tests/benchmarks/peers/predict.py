"""Predicts with one of neuralforecast's models from each origin of a day; runs in an environment of its own.

Reads what is asked as JSON from standard input; `frame` in it is a Parquet file of unique_id, ds, y. Prints the rows
that were predicted and the seconds from the end of fitting (a single step) to the table of predictions.
"""

import json
import logging
import sys
import time
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import pandas as pd  # noqa: E402
import pytorch_lightning as pl  # noqa: E402
from neuralforecast import NeuralForecast, models  # noqa: E402


class Clock(pl.Callback):
    """When fitting ended."""

    def on_fit_end(self, trainer, module):
        Clock.ended = time.perf_counter()


def main() -> None:
    """Reads what is asked, writes what came of it."""
    asked = json.load(sys.stdin)
    model = getattr(models, asked["model"])(
        h=asked["horizon"],
        max_steps=1,
        callbacks=[Clock()],
        enable_progress_bar=False,
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
        alias="value",
        **asked["options"],
    )
    forecast = NeuralForecast(models=[model], freq=asked["freq"])
    frame = pd.read_parquet(asked["frame"])
    found = forecast.cross_validation(frame, n_windows=asked["origins"], step_size=1, refit=False)
    print(json.dumps({"seconds": time.perf_counter() - Clock.ended, "rows": len(found)}))


if __name__ == "__main__":
    main()
