"""Completing the installed pyspark: once, whole, and only with what Spark lacks."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nightmill.errors import MachineError
from nightmill.jars import MARKER, SparkHome, install, installed, lacking_jars, missing


def jar(path: Path, *classes: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "")
        archive.writestr("module-info.class", "")
        for name in classes:
            archive.writestr(name, name)
    return path


@pytest.fixture
def home(tmp_path: Path) -> SparkHome:
    """A Spark 4.2 that brings Jackson, with a spark-submit that fetches four jars, and a log of its calls."""
    folder = tmp_path / "pyspark"
    own = jar(folder / "jars" / "jackson-core-2.21.0.jar", "com/fasterxml/Core.class")
    own_too = jar(folder / "jars" / "jcl-over-slf4j-2.0.jar", "org/apache/commons/logging/Log.class")
    shelf = tmp_path / "maven"
    for version in ("4.4.0", "4.5.0"):
        jar(shelf / version / f"io.delta_delta-spark_4.2_2.13-{version}.jar", "io/delta/Session.class")
        jar(shelf / version / f"io.delta_delta-storage-{version}.jar", "io/delta/storage/Log.class")
        jar(shelf / version / "com.fasterxml_jackson-core-2.13.5.jar", "com/fasterxml/Core.class")
        jar(shelf / version / "commons-logging_commons-logging-1.3.0.jar", "org/apache/commons/logging/Log.class")
    submit = folder / "bin" / "spark-submit"
    submit.parent.mkdir()
    submit.write_text(
        f"""#!{sys.executable}
import shutil, sys
from pathlib import Path
print("noise", sys.argv)
open({str(tmp_path / "calls")!r}, "a").write("x")
ivy = next(a for a in sys.argv if a.startswith("spark.jars.ivy=")).partition("=")[2]
version = sys.argv[sys.argv.index("--packages") + 1].rpartition(":")[2]
if not Path({str(shelf)!r}).is_dir():
    sys.exit("unresolved dependency")
shutil.copytree(Path({str(shelf)!r}, version), Path(ivy, "jars"))
"""
    )
    submit.chmod(0o755)
    return SparkHome(folder, (own, own_too), "4.2.0", "4.4.0", tmp_path / "spark-distribution")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "spark-defaults.conf").write_text("spark.ui.enabled false\n")
    return folder


def jars_of(home: SparkHome) -> set[str]:
    return {path.name for path in (home.folder / "jars").glob("*.jar")} - {path.name for path in home.own_jars}


DELTA = {"io.delta_delta-spark_4.2_2.13-4.4.0.jar", "io.delta_delta-storage-4.4.0.jar"}


def test_only_what_spark_lacks_is_added(home: SparkHome, settings: Path, tmp_path: Path) -> None:
    assert install(home, settings, tmp_path / "cache")
    assert jars_of(home) == DELTA
    assert (home.folder / "conf" / "spark-defaults.conf").read_text() == "spark.ui.enabled false\n"
    assert (tmp_path / "spark-distribution").resolve() == home.folder
    assert list(home.folder.rglob(".*")) == []


def test_a_second_call_does_nothing(home: SparkHome, settings: Path, tmp_path: Path) -> None:
    install(home, settings, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in home.folder.rglob("*") if path.is_file()}
    assert not install(home, settings, tmp_path / "cache")
    assert missing(home, settings) == []
    assert {path: path.stat().st_mtime_ns for path in home.folder.rglob("*") if path.is_file()} == before
    assert (tmp_path / "calls").read_text() == "x"


@pytest.mark.parametrize(
    "lost", ["jars/io.delta_delta-storage-4.4.0.jar", f"jars/{MARKER}", "conf/spark-defaults.conf"]
)
def test_what_was_lost_comes_back_without_network(home: SparkHome, settings: Path, tmp_path: Path, lost: str) -> None:
    install(home, settings, tmp_path / "cache")
    (home.folder / lost).unlink()
    (tmp_path / "maven").rename(tmp_path / "unreachable")
    assert missing(home, settings) != []
    assert install(home, settings, tmp_path / "cache")
    assert jars_of(home) == DELTA and missing(home, settings) == []


def test_a_truncated_jar_is_replaced(home: SparkHome, settings: Path, tmp_path: Path) -> None:
    install(home, settings, tmp_path / "cache")
    path = home.folder / "jars" / "io.delta_delta-storage-4.4.0.jar"
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    assert missing(home, settings) == [path.name]
    install(home, settings, tmp_path / "cache")
    assert path.read_bytes() == whole


def test_changed_settings_are_copied_again(home: SparkHome, settings: Path, tmp_path: Path) -> None:
    install(home, settings, tmp_path / "cache")
    (settings / "spark-defaults.conf").write_text("spark.ui.enabled true\n")
    assert missing(home, settings) == ["spark-defaults.conf"]
    install(home, settings, tmp_path / "cache")
    assert (home.folder / "conf" / "spark-defaults.conf").read_text() == "spark.ui.enabled true\n"


def test_another_delta_replaces_the_former_one_and_leaves_other_jars(
    home: SparkHome, settings: Path, tmp_path: Path
) -> None:
    install(home, settings, tmp_path / "cache")
    jar(home.folder / "jars" / "mine.jar", "my/Own.class")
    newer = SparkHome(home.folder, home.own_jars, "4.2.0", "4.5.0", home.link)
    assert install(newer, settings, tmp_path / "cache")
    assert jars_of(home) == {name.replace("4.4.0", "4.5.0") for name in DELTA} | {"mine.jar"}


def test_maven_out_of_reach_names_the_log_and_a_way_out(home: SparkHome, settings: Path, tmp_path: Path) -> None:
    (tmp_path / "maven").rename(tmp_path / "unreachable")
    with pytest.raises(MachineError) as caught:
        install(home, settings, tmp_path / "cache")
    assert "io.delta:delta-spark_4.2_2.13:4.4.0" in caught.value.what and caught.value.exit_code == 2
    assert "unresolved dependency" in Path(caught.value.where).read_text()
    assert "https.proxyHost" in caught.value.fix and "DEFAULT_ARTIFACT_REPOSITORY" in caught.value.fix
    assert jars_of(home) == set()
    (tmp_path / "unreachable").rename(tmp_path / "maven")
    assert install(home, settings, tmp_path / "cache")


def test_a_jar_whose_classes_spark_has_under_another_name_is_left_out(tmp_path: Path) -> None:
    own = jar(tmp_path / "jcl-over-slf4j-2.0.jar", "org/apache/commons/logging/Log.class")
    double = jar(tmp_path / "commons-logging-1.3.jar", "org/apache/commons/logging/Log.class", "more/Of.class")
    new = jar(tmp_path / "delta.jar", "io/delta/Session.class")
    assert lacking_jars([double, new], [own]) == [new]


def test_a_broken_jar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.jar").write_bytes(b"PK")
    with pytest.raises(MachineError, match=r"broken\.jar is not a readable jar"):
        lacking_jars([tmp_path / "broken.jar"], [])


def test_the_installed_spark_is_complete() -> None:
    home = installed()
    assert missing(home) == []
    recorded = json.loads((home.folder / "jars" / MARKER).read_text())["jars"]
    assert any(name.startswith("io.delta_delta-spark") for name in recorded)


def test_nothing_heavy_is_imported_to_see_that_all_is_there() -> None:
    program = (
        "import sys; from nightmill import jars; jars.main(); print(sorted({'pyspark', 'pydantic'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.spark
def test_spark_submit_prints_nothing_but_the_jobs_output(tmp_path: Path) -> None:
    table = tmp_path / "table"
    write_deltalake(table, pa.table({"x": [1, 2, 3]}))
    job = tmp_path / "job.py"
    job.write_text(
        "import sys\n"
        "from pyspark.sql import SparkSession\n"
        "session = SparkSession.builder.getOrCreate()\n"
        f"print(len(session.read.format('delta').load({str(table)!r}).collect()), sys.prefix)\n"
    )
    submit = Path(sys.prefix) / "bin" / "spark-submit"
    # a PATH without the environment: the script must find its own Spark and its own Python
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [submit, "--master", "local[1]", "--conf", "spark.driver.memory=512m", job]
    answer = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"3 {sys.prefix}\n", "")
