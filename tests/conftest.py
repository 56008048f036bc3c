"""What all tests share: one Spark session, the published data sets, and an order that starts each engine once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("NIGHTMILL_SHARED_DATA") or ROOT.parent / "shared" / "data")

# The Spark under test is the one of this environment, whatever the shell is set up for.
for _name in (
    "SPARK_HOME",
    "SPARK_CONF_DIR",
    "SPARK_REMOTE",
    "PYSPARK_PYTHON",
    "PYSPARK_SUBMIT_ARGS",
    "NIGHTMILL_CONF",
):
    os.environ.pop(_name, None)
os.environ["NIGHTMILL_LOG"] = "text"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by the fixtures they ask for, and puts those that share an engine together.

    One process runs the quick ones first, for a quick answer; several begin with the long ones, to end together.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "spark" in fixtures:
            item.add_marker("spark")
        if "shared_data" in fixtures:
            item.add_marker("realdata")
    several = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: [item.get_closest_marker(e) is not None for e in ("ray", "spark")], reverse=several)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The Spark session of this test run: local, two threads, Delta, no files left in the checkout."""
    from nightmill.config.environment import Environment, Spark
    from nightmill.spark import session

    folder = tmp_path_factory.mktemp("spark")
    # many small jobs: quick to compile matters, fast code does not
    quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    settings = {
        "spark.driver.extraJavaOptions": quick,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "local"),
    }
    started = session(Environment(spark=Spark(master="local[2]", memory="1g", shuffle_partitions=2, settings=settings)))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data sets; tests that ask for it are skipped where it does not lie."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"published data sets are not at {SHARED_DATA}; set NIGHTMILL_SHARED_DATA to their folder")
    return SHARED_DATA
