"""Scoring a whole city, against its parts and against what others do: `make bench-score`.

Models are untrained: what they compute takes as long. All tables are Delta, all times those of whole stages.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from deltalake import WriterProperties, write_deltalake
from pydantic import TypeAdapter

sys.path.insert(0, str(Path(__file__).parent))
from memory import peak, tree
from page import Report, apart, inner, options, ran_inner, run_parts

from nightmill import provenance
from nightmill.config import Environment, Time, UseCase
from nightmill.config.models import Model
from nightmill.handoff import pin, row_batches
from nightmill.lake.registry import Registry
from nightmill.lake.run import new_run_id, step
from nightmill.lake.tables import Lake
from nightmill.models import build
from nightmill.models.bundle import Bundle
from nightmill.models.interval import calibrate
from nightmill.models.shape import Fitted, Shape
from nightmill.score import score
from nightmill.score.table import FILE_SCHEMA
from nightmill.spark import KEEP_FREED, session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

STEPS = 288
DAY = date(2026, 3, 2)
BEGIN = round(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1_000_000)
COLUMNS = 17
FEATURES = [f"f{number:02}" for number in range(COLUMNS)]
ROWS = 20_000_000
TIME = Time.model_validate({"column": "ts", "zone": "UTC", "every": "5 min"})
ROUNDS, TURNS = 3, 6

HERE = Path(__file__).parent / "peers"
STID = {"family": "stid", "window": 12, "hidden": 64, "blocks": 2, "embedding": 32, "slots": 48}
MLP = {"family": "mlp", "window": 1, "hidden": 64, "layers": 2}
NLINEAR = {"family": "nlinear", "window": 48}
SERIES = 1000

HEAD = f"""# Scoring

Tables of simulated sensors, a row every five minutes. Times are of whole stages, from the registry and the Delta log to
the commit, with Spark already running: ours the best of {ROUNDS}, of others the one; the MLP and its parts take turns,
the best of {TURNS} each. Models are untrained: what they compute takes as long.
"""


def names(count: int) -> list[str]:
    """Of detectors."""
    return [f"det-{number:06}" for number in range(count)]


def gold(lake: Lake, name: str, entities: int, days: int, columns: Callable[[int, Any], dict[str, Any]]) -> str:
    """A table as the features stage leaves it: a file per day and million rows or so, sorted by entity and time."""
    uri = lake.table("gold", name).uri
    shutil.rmtree(uri, ignore_errors=True)
    draws, each = np.random.default_rng(0), 4000
    properties = WriterProperties(max_row_group_size=65_536, compression="SNAPPY")
    for day in range(days):
        for first in range(0, entities, each):
            many = min(each, entities - first)
            codes = np.repeat(np.arange(many), STEPS).astype(np.int32)
            own = pa.array(names(entities)[first : first + many])
            ts = np.tile(np.arange(STEPS), many) * 300_000_000 + BEGIN + (day - days + 1) * 86_400_000_000
            stamps = pa.array(ts, pa.timestamp("us", "UTC"))
            rows = {"entity": pa.DictionaryArray.from_arrays(pa.array(codes), own).cast(pa.string()), "ts": stamps}
            rows |= {"day": stamps.cast(pa.date32())} | columns(len(ts), draws)
            write_deltalake(
                uri, pa.table(rows), mode="append", partition_by=["day"], target_file_size=2**32,
                writer_properties=properties,
            )  # fmt: skip
    return uri


def bundle(options: dict[str, Any], shape: Shape, use_case: str, entities: list[str]) -> Bundle:
    """An untrained model with a head and an interval that say something."""

    asked: Any = TypeAdapter(Model).validate_python(options)
    torch.manual_seed(0)
    profile = np.full((shape.entities + 1, 2, shape.slots), 50, np.float32)
    width = len(shape.features)
    fitted = Fitted(np.zeros(width, np.float32), np.ones(width, np.float32), 50.0, 9.0, profile)
    network = build(asked, shape, fitted)
    torch.nn.init.normal_(network.head.linear.weight, std=0.1)
    truth = np.random.default_rng(0).normal(50, 9, (2000, shape.steps)).astype(np.float32)
    interval = calibrate(truth, truth * 0.9, truth * 0.9, 0.8)
    return Bundle(network, asked, entities, interval, use_case, "speed", "c", {"version": 0, "until": 0}, 0)


def use_case(name: str, options: dict[str, Any], horizon: int, features: list[str]) -> UseCase:
    """Scores every origin of a day."""
    return UseCase.model_validate(
        {
            "name": name,
            "title": "t",
            "task": "forecast",
            "inputs": {"speed": "data/city/traffic"},
            "target": {"column": features[0], "horizon": horizon},
            "features": [{"columns": features}],
            "model": options,
            "score": {"origins": "each"},
        }
    )


def register(lake: Lake, made: Bundle) -> None:
    """Makes it the champion."""
    registry = Registry.open(lake)
    registry.promote(made.use_case, registry.register(made.to_files(), made.use_case, "bench"))


def scored(lake: Lake, case: UseCase, start: Callable[[], Any]) -> tuple[float, int]:
    """(seconds of the stage, rows in the table)."""
    registry = Registry.open(lake)
    with step(lake, new_run_id("bench"), "score", case.name, timedelta(minutes=2)) as current:
        begun = time.perf_counter()
        found = score(start, current, case, TIME, registry, DAY)
        return time.perf_counter() - begun, found.rows


def speeds(count: int, draws: Any) -> dict[str, Any]:
    """What a detector measures, and the clock."""
    speed = draws.normal(50, 9, count).astype(np.float32)
    minute = np.tile(np.arange(STEPS) * 5, count // STEPS).astype(np.float32)
    return {"speed": speed, "minute_of_week": minute, "target": speed}


def city(report: Report, lake: Lake, spark: SparkSession, asked: argparse.Namespace) -> None:
    """Twelve steps ahead from each five minutes of a day, for more and more sensors; each in processes of its own."""
    report.head(
        "A day of a city: 288 origins, 12 steps ahead (STID of 64, windows of 12)",
        "sensors", "rows", "seconds", "M rows/s", "s per 1,000 sensors", "peak PSS, MiB", "USS of the driver", "bound",
    )  # fmt: skip
    each, drivers = list[float](), list[float]()
    for sensors in (1000, 10_000, 40_000):
        apart(__file__, "inner_build", lake.root, sensors)
        took, rows, whole, driver = apart(__file__, "inner_city", lake.root, sensors)
        each.append(took / sensors * 1000)
        drivers.append(driver)
        report.row(
            f"{sensors:,}", f"{rows:,}", f"{took:.1f}", f"{rows / took / 1e6:.2f}", f"{each[-1]:.2f}",
            f"{whole:,.0f}", f"{driver:,.0f}", "not above the first; driver +10 %",
            holds=each[-1] <= each[0] * 1.05 and drivers[-1] <= drivers[0] * 1.1,
        )  # fmt: skip
        shutil.rmtree(lake.table("gold", f"bench/city-{sensors}").uri)
        shutil.rmtree(lake.table("predictions", f"bench/city-{sensors}").uri)


def inner_build(uri: str, sensors: int) -> None:
    """In a process of its own: two days of a city, and its champion."""
    lake, name = Lake.open(uri), f"bench/city-{sensors}"
    gold(lake, name, sensors, 2, speeds)
    shape = Shape(("speed", "minute_of_week"), 12, 12, False, sensors, "speed", 5.0)
    register(lake, bundle(STID, shape, name, names(sensors)))


def inner_city(uri: str, sensors: int) -> tuple[float, int, float, float]:
    """In a process of its own: (seconds, rows, peak PSS of all processes and peak USS of the driver in MiB)."""
    logging.disable(logging.INFO)
    lake, spark, name = Lake.open(uri), session(Environment()), f"bench/city-{sensors}"
    spark.range(10).count()
    with peak(tree, every=0.25) as found:
        took, rows = min(scored(lake, use_case(name, STID, 12, ["speed"]), lambda: spark) for _ in range(ROUNDS))
    spark.stop()
    return took, rows, *found


def inner_parts(uri: str, number: int, of: int) -> dict[str, float]:
    """In a process of its own: seconds of the hand-off's reader alone, and of bare torch over as many rows."""
    torch.set_num_threads(1)
    gold_of = pin(uri)
    mine = [file for place, file in enumerate(gold_of.files) if place % of == number]
    begun, rows = time.perf_counter(), 0
    for batch in row_batches(replace(gold_of, files=tuple(mine)), FEATURES, 4096, readers=1):
        rows += len(batch)
    reading = time.perf_counter() - begun
    network, one = bare(), torch.randn(4096, COLUMNS)
    with torch.inference_mode():
        begun = time.perf_counter()
        for _ in range(rows // 4096):
            network(one)
        return {"reading": reading, "torch": time.perf_counter() - begun}


def bare() -> torch.nn.Sequential:
    """17-64-64-1."""
    torch.manual_seed(0)
    sizes = (COLUMNS, 64), (64, 64)
    layers = [layer for size in sizes for layer in (torch.nn.Linear(*size), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers, torch.nn.Linear(64, 1)).eval()


def rows_of_a_table(report: Report, lake: Lake, spark: SparkSession, asked: argparse.Namespace) -> None:
    """A model of single rows over many of them: against its parts, and against what Spark offers."""
    name, sensors = "bench/rows", ROWS // STEPS
    uri = gold(lake, name, sensors, 1, lambda count, draws: _features(count, draws))
    shape = Shape(tuple(FEATURES), 1, 1, False, sensors, FEATURES[0], 5.0)
    made = bundle(MLP, shape, name, names(sensors))
    register(lake, made)
    case = use_case(name, MLP, 1, FEATURES)
    times, parts, rows = list[float](), list[dict[str, float]](), 0
    for _ in range(TURNS):
        took, rows = scored(lake, case, lambda: spark)
        times.append(took)
        parts.append(_sum_of_parts(uri))
    took, least = min(times), sum(min(part[key] for part in parts) for key in ("reading", "torch"))
    report.head(
        f"MLP 17-64-64-1 over {rows:,} rows, into Delta", "", "seconds", "M rows/s", "", "bound"
    )  # fmt: skip
    said = " + ".join(f"{min(part[key] for part in parts):.1f} {key}" for key in ("reading", "torch"))
    report.row(
        f"hand-off's reader and bare torch in two processes ({said})", f"{least:.1f}", _rate(rows, least), "", ""
    )
    report.row("this stage", f"{took:.1f}", _rate(rows, took), f"{took / least:.2f} x its parts", "2 x (goal 1.4 x)",
               holds=took <= 2 * least)  # fmt: skip
    for peer, run in (("predict_batch_udf", batch_udf), ("pandas_udf", pandas), ("mapInArrow", arrow)):
        theirs = lake.table("predictions", f"bench/{peer.lower()}").uri
        begun = time.perf_counter()
        run(spark, spark.read.format("delta").load(uri), theirs)
        other = time.perf_counter() - begun
        wrote = spark.read.format("delta").load(theirs).count()
        report.row(f"{peer}, {wrote:,} rows", f"{other:.1f}", _rate(wrote, other), f"{other / took:.1f} x ours",
                   "5 x", holds=other >= 5 * took and wrote == rows)  # fmt: skip
        shutil.rmtree(theirs)


def _features(count: int, draws: Any) -> dict[str, Any]:
    found = {name: draws.standard_normal(count, dtype=np.float32) for name in FEATURES}
    return found | {"target": found[FEATURES[0]]}


def _rate(rows: int, seconds: float) -> str:
    return f"{rows / seconds / 1e6:.2f}"


def _sum_of_parts(uri: str) -> dict[str, float]:
    """Both keep what they freed, as Nightmill's workers do: bare torch takes up to twice as long without."""
    commands = [inner(__file__, "inner_parts", uri, number, 2) for number in range(2)]
    env = os.environ | KEEP_FREED
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) for command in commands]
    found = [json.loads(rank.communicate()[0]) for rank in ranks]
    return {key: max(one[key] for one in found) for key in ("reading", "torch")}


def batch_udf(spark: SparkSession, rows: DataFrame, uri: str) -> None:
    """Spark's own way to apply a model."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import functions as F
    from pyspark.sql.types import FloatType

    def make() -> Callable[[Any], Any]:
        torch.set_num_threads(1)
        network = bare()

        def predict(values: Any) -> Any:
            with torch.inference_mode():
                return network(torch.from_numpy(values)).numpy()[:, 0]

        return predict

    apply = predict_batch_udf(make, return_type=FloatType(), batch_size=4096, input_tensor_shapes=[[COLUMNS]])
    _write(rows.select("entity", "ts", apply(F.array(*FEATURES)).alias("value")), uri)


def pandas(spark: SparkSession, rows: DataFrame, uri: str) -> None:
    """An iterator over Series, the model loaded once per worker."""
    from pyspark.sql import functions as F

    def apply(parts: Iterator[pd.DataFrame]) -> Iterator[pd.Series]:
        torch.set_num_threads(1)
        network = bare()
        with torch.inference_mode():
            for part in parts:
                values = torch.from_numpy(part.to_numpy(np.float32))
                yield pd.Series(network(values).numpy()[:, 0])

    apply.__annotations__ = {"parts": Iterator[pd.DataFrame], "return": Iterator[pd.Series]}
    udf = F.pandas_udf(apply, "float")
    _write(rows.select("entity", "ts", udf(F.struct(*FEATURES)).alias("value")), uri)


def arrow(spark: SparkSession, rows: DataFrame, uri: str) -> None:
    """Record batches through Python."""

    def apply(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        network = bare()
        with torch.inference_mode():
            for batch in batches:
                values = np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in FEATURES], axis=1)
                value = pa.array(network(torch.from_numpy(values)).numpy()[:, 0])
                yield pa.RecordBatch.from_arrays(
                    [batch.column("entity"), batch.column("ts"), value], ["entity", "ts", "value"]
                )

    found = rows.select("entity", "ts", *FEATURES).mapInArrow(apply, "entity string, ts timestamp, value float")
    _write(found, uri)


def _write(found: DataFrame, uri: str) -> None:
    """The columns of the predictions table, those that are not predicted as constants."""
    from pyspark.sql import functions as F

    known = {
        "horizon": F.lit(1),
        "target_ts": F.expr("ts + INTERVAL 5 MINUTES"),
        "target": F.lit("speed"),
        "lo": F.expr("CAST(value - 1 AS FLOAT)"),
        "hi": F.expr("CAST(value + 1 AS FLOAT)"),
        "model_version": F.lit(1),
        "feature_version": F.lit(1),
        "run_id": F.lit("bench"),
        "scored_at": F.lit(datetime.now(UTC)),
        "hindsight": F.lit(False),
        "day": F.lit(DAY),
    }
    types = {"label": "string", "score": "float", "fallback": "string"}
    empty = {name: F.lit(None).cast(types[name]) for name in FILE_SCHEMA.names if name in types}
    found.withColumns(known | empty).write.format("delta").partitionBy("day").mode("overwrite").save(uri)


def series(report: Report, lake: Lake, spark: SparkSession, asked: argparse.Namespace) -> None:
    """The same size of model over windows: against a pandas UDF per series, and neuralforecast."""
    name = "bench/series"
    uri = gold(lake, name, SERIES, 2, speeds)
    shape = Shape(("speed",), 48, 12, False, SERIES, "speed", 5.0)
    made = bundle(NLINEAR, shape, name, names(SERIES))
    register(lake, made)
    case = use_case(name, NLINEAR, 12, ["speed"])
    took, rows = min(scored(lake, case, lambda: spark) for _ in range(ROUNDS))
    report.head(
        f"NLinear of 48 to 12 over {SERIES:,} series, 288 origins each", "", "rows", "seconds", "M rows/s", "", "bound"
    )
    report.row("this stage, into Delta", f"{rows:,}", f"{took:.2f}", _rate(rows, took), "", "")
    files = made.to_files()
    theirs = lake.table("predictions", "bench/udf").uri
    begun = time.perf_counter()
    per_series(spark, spark.read.format("delta").load(uri), files, theirs)
    other = time.perf_counter() - begun
    wrote = spark.read.format("delta").load(theirs).count()
    report.row("applyInPandas, a model per series, into Delta", f"{wrote:,}", f"{other:.1f}", _rate(wrote, other),
               f"{other / took:.1f} x ours", "5 x", holds=other >= 5 * took and wrote == rows)  # fmt: skip
    into = Path(theirs).with_suffix(".parquet")
    into.parent.mkdir(parents=True, exist_ok=True)
    wanted = {
        "files": [f"{uri}/{file.path}" for file in pin(uri).files],
        "series": "speed",
        "into": str(into),
        "model": "NLinear",
        "options": {"input_size": 48},
        "horizon": 12,
        "freq": "5min",
        "origins": STEPS,
    }
    command = [str(asked.python.absolute()), str(HERE / "predict.py")]
    ran = subprocess.run(command, input=json.dumps(wanted), text=True, capture_output=True, check=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    ratio = found["seconds"] / found["rows"] / (took / rows)
    rate = _rate(found["rows"], found["seconds"])
    cells = f"{found['rows']:,}", f"{found['seconds']:.1f}", rate, f"{ratio:.1f} x ours", "5 x"
    report.row("neuralforecast: reads Parquet, predicts, writes Parquet", *cells, holds=ratio >= 5)


def per_series(spark: SparkSession, rows: DataFrame, files: dict[str, bytes], uri: str) -> None:
    """As many-model forecasting does it: one group, one model, one frame of predictions."""

    def apply(frame: pd.DataFrame) -> pd.DataFrame:
        torch.set_num_threads(1)
        model = Bundle.from_files(files)
        ordered = frame.sort_values("ts")
        values = torch.from_numpy(ordered["speed"].to_numpy(np.float32))
        windows = values.unfold(0, 48, 1)[-STEPS:].unsqueeze(2)
        with torch.inference_mode():
            value = model.network(windows, torch.zeros(len(windows), dtype=torch.int64))[..., 0].numpy()
        origin = ordered["ts"].to_numpy()[-STEPS:]
        return pd.DataFrame({"entity": frame["entity"].iloc[0], "ts": np.repeat(origin, 12), "value": value.ravel()})

    found = rows.groupBy("entity").applyInPandas(apply, "entity string, ts timestamp, value float")
    _write(found, uri)


def programs(report: Report, lake: Lake, spark: SparkSession, asked: argparse.Namespace) -> None:
    """What scoring would gain from a program made of the network, and how long each worker would wait for it."""
    makers: dict[str, Callable[[torch.nn.Module, tuple[Any, ...]], Callable[..., Any]]] = {
        "as scoring runs it": lambda network, given: network,
        "torch.export": lambda network, given: torch.export.export(network, given).module(),
        "torch.jit, traced and frozen": lambda network, given: torch.jit.freeze(torch.jit.trace(network, given)),
        "torch.compile": lambda network, given: torch.compile(network),
    }
    report.head(
        "The network alone as a program, a thread, batches of 4,096", "", "", "seconds to make", "ns per window",
        "largest difference",
    )  # fmt: skip
    torch.set_num_threads(1)
    wide = Shape(tuple(FEATURES), 1, 1, False, SERIES, FEATURES[0], 5.0)
    long = Shape(("speed", "minute_of_week"), 12, 12, False, SERIES, "speed", 5.0)
    for title, options_, shape in (("MLP 17-64-64-1", MLP, wide), ("STID of 64, windows of 12", STID, long)):
        network = bundle(options_, shape, "bench/program", names(SERIES)).network.eval()
        x = 50 + torch.randn(4096, shape.lookback, len(shape.features))
        given = x, torch.arange(4096) % SERIES
        usual: torch.Tensor | None = None
        for how, make in makers.items():
            with torch.no_grad():
                begun = time.perf_counter()
                program = make(network, given)
                said = program(*given)
                made = time.perf_counter() - begun
                least = min(_took(program, given) for _ in range(50 * TURNS))
            usual = said if usual is None else usual
            apart_by = float((said - usual).abs().max())
            report.row(title, how, f"{made:.1f}", f"{least / 4096 * 1e9:.0f}", f"{apart_by:.1g}")


def _took(program: Callable[..., Any], given: tuple[Any, ...]) -> float:
    begun = time.perf_counter()
    program(*given)
    return time.perf_counter() - begun


PARTS = {"city": city, "rows": rows_of_a_table, "series": series, "programs": programs}


def main() -> int:
    """Writes the table; returns 1 where a bound is missed."""
    logging.disable(logging.INFO)
    if ran_inner(globals()):
        return 0
    parser = options(__doc__, "bench-score", PARTS)
    parser.add_argument("--python", type=Path, required=True, help="of the environment with neuralforecast")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lake, spark = Lake.open(str(folder / "lake")), session(Environment())
    spark.range(10).count()
    parts = {name: partial(part, lake=lake, spark=spark, asked=asked) for name, part in PARTS.items()}
    missed = run_parts(asked.results / "bench-score.md", HEAD, provenance.stamp(), parts, asked.only)
    spark.stop()
    shutil.rmtree(folder)
    return missed


if __name__ == "__main__":
    sys.exit(main())
