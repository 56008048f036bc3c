"""Predicts with one of neuralforecast's models from each origin of a day; runs in an environment of its own.

Reads what is asked as JSON from standard input; `files` in it are the Parquet files of a table with entity, ts and the
series. Writes the predictions to the Parquet file `into`. Prints the rows that were predicted and the seconds of
reading, data set, predicting and writing, from which those of fitting (a single step) are taken away.
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
    """What fitting took."""

    def on_fit_start(self, trainer, module):
        Clock.begun = time.perf_counter()

    def on_fit_end(self, trainer, module):
        Clock.took = time.perf_counter() - Clock.begun


def main() -> None:
    """Reads what is asked, writes what came of it."""
    asked = json.load(sys.stdin)
    begun = time.perf_counter()
    columns = ["entity", "ts", asked["series"]]
    frame = pd.concat([pd.read_parquet(file, columns=columns) for file in asked["files"]])
    frame = frame.set_axis(["unique_id", "ds", "y"], axis=1)
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
    found = forecast.cross_validation(frame, n_windows=asked["origins"], step_size=1, refit=False)
    found.to_parquet(asked["into"])
    print(json.dumps({"seconds": time.perf_counter() - begun - Clock.took, "rows": len(found)}))


if __name__ == "__main__":
    main()
