"""Trains one of neuralforecast's models and predicts its test part; runs in an environment of its own.

Reads what is asked as JSON from standard input; `frame` in it is a Parquet file of unique_id, ds, y. Writes the
predictions beside it, and prints the seconds between the start and the end of fitting.
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import pandas as pd  # noqa: E402
import pytorch_lightning as pl  # noqa: E402
import torch  # noqa: E402
from neuralforecast import NeuralForecast, models  # noqa: E402
from neuralforecast.losses.pytorch import MAE  # noqa: E402


class Clock(pl.Callback):
    """Seconds of fitting, without what comes before and after."""

    def on_fit_start(self, trainer, module):
        Clock.begun = time.perf_counter()

    def on_fit_end(self, trainer, module):
        Clock.took = time.perf_counter() - Clock.begun


def main() -> None:
    """Reads what is asked, writes what came of it."""
    asked = json.load(sys.stdin)
    clock = Clock()  # what is called later is a copy of it
    model = getattr(models, asked["model"])(
        h=asked["horizon"],
        loss=MAE(),
        max_steps=asked["steps"],
        val_check_steps=asked["steps"],
        random_seed=asked["seed"],
        callbacks=[clock],
        enable_progress_bar=False,
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
        alias="value",
        lr_scheduler=torch.optim.lr_scheduler.OneCycleLR,
        lr_scheduler_kwargs={"max_lr": asked["options"]["learning_rate"], "total_steps": asked["steps"] + 1},
        **asked["options"],
    )
    forecast = NeuralForecast(models=[model], freq=asked["freq"], local_scaler_type="standard")
    frame = pd.read_parquet(asked["frame"])
    found = forecast.cross_validation(
        frame, val_size=asked["validation"], test_size=asked["test"], n_windows=None, step_size=1, refit=False
    )
    found.reset_index(drop=True).to_parquet(Path(asked["frame"]).with_suffix(".found"))
    print(json.dumps({"seconds": clock.took}))


if __name__ == "__main__":
    main()
