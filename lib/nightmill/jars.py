"""Puts Delta's jars and quiet Spark settings into the installed pyspark, once: `python -m nightmill.jars`.

Afterwards `spark-submit jobs/X.py` and sessions in a Python process work offline, without `--packages`. Spark's own Ivy
resolves the jars into a private folder, which a later set-up reuses.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nightmill.errors import MachineError
from nightmill.java import require_java

SCALA = "2.13"
SETTINGS = Path(__file__).parents[2] / "conf" / "spark"
MARKER = "nightmill-jars.json"
RESOLVE_SECONDS = 900


@dataclass(frozen=True)
class SparkHome:
    """The installed pyspark: its folder, the jars that its wheel brought, its version and Delta's.

    `link` is where the scripts of a virtual environment look for Spark first. Without it `.venv/bin/spark-submit` asks
    whatever python3 the PATH finds, which knows of no Spark unless the environment is activated.
    """

    folder: Path
    own_jars: tuple[Path, ...]
    spark_version: str
    delta_version: str
    link: Path | None = None

    @property
    def coordinate(self) -> str:
        """Maven coordinate of Delta for this Spark, as in io.delta:delta-spark_4.2_2.13:4.4.0."""
        series = ".".join(self.spark_version.split(".")[:2])
        return f"io.delta:delta-spark_{series}_{SCALA}:{self.delta_version}"


def installed() -> SparkHome:
    """The pyspark of this interpreter, found without importing it. Raises MachineError where there is none."""
    found = find_spec("pyspark")
    if found is None or found.origin is None:
        raise MachineError("pyspark is not installed", where=sys.executable, fix="run `make setup`")
    folder = Path(found.origin).parent
    try:
        spark, delta = metadata.distribution("pyspark"), metadata.version("delta-spark")
    except metadata.PackageNotFoundError as error:
        raise MachineError(f"{error.name} is not installed", where=sys.executable, fix="run `make setup`") from None
    own = tuple(folder / "jars" / file.name for file in spark.files or () if file.match("pyspark/jars/*.jar"))
    scripts = Path(sys.prefix) / "bin"
    link = scripts / "spark-distribution" if (scripts / "find_spark_home.py").is_file() else None
    return SparkHome(folder, own, spark.version, delta, link)


def missing(home: SparkHome, settings: Path = SETTINGS) -> list[str]:
    """What the installed pyspark still lacks, as file names; empty when all is in place. Reads a few small files."""
    marker = _marker(home)
    if marker.get("coordinate") != home.coordinate:
        return [home.coordinate]
    jars = [n for n, size in marker["jars"].items() if _size(home.folder / "jars" / n) != size]
    wanted = sorted(settings.iterdir()) if settings.is_dir() else []
    files = [file.name for file in wanted if not _same(file, home.folder / "conf" / file.name)]
    link = home.link
    return jars + files + ([link.name] if link and link.resolve() != home.folder.resolve() else [])


def install(home: SparkHome, settings: Path = SETTINGS, cache: Path | None = None) -> bool:
    """Completes the installed pyspark; returns whether anything had to be done.

    Each file appears whole or not at all. Raises MachineError when Java is missing or Maven cannot be reached.
    """
    lacking = missing(home, settings)
    if not lacking:
        return False
    if any(name.endswith(".jar") or name == home.coordinate for name in lacking):
        _install_jars(home, resolve(home, cache or cache_folder()))
    for file in sorted(settings.iterdir()):
        _put(file, home.folder / "conf" / file.name)
    if home.link:
        home.link.unlink(missing_ok=True)
        home.link.symlink_to(os.path.relpath(home.folder, home.link.parent))
    return True


def cache_folder() -> Path:
    """Private folder of resolved jars: `$XDG_CACHE_HOME/nightmill/jars`, else under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightmill" / "jars"


def resolve(home: SparkHome, cache: Path) -> list[Path]:
    """Jars of Delta and of all that it needs, out of the cache or fetched once through Spark's own Ivy."""
    folder = cache / home.coordinate.replace(":", "_")
    done, log = folder / "resolved", folder / "resolve.log"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"  fetching {home.coordinate} and what it needs from Maven Central, once", flush=True)
        _run_ivy(home, folder, log)
        done.write_text("\n".join(sorted(path.name for path in (folder / "jars").glob("*.jar"))))
    return [folder / "jars" / name for name in done.read_text().split()]


def _run_ivy(home: SparkHome, folder: Path, log: Path) -> None:
    # spark-submit resolves packages before it looks at the class: one that ends at once costs no session
    command = [str(home.folder / "bin" / "spark-submit"), "--master", "local[1]", "--packages", home.coordinate]
    command += ["--conf", f"spark.jars.ivy={folder}", "--class", "org.apache.hadoop.util.VersionInfo", "spark-internal"]
    strange = ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS", "SPARK_SUBMIT_OPTS")
    environment = {key: value for key, value in os.environ.items() if key not in strange}
    environment |= {"SPARK_HOME": str(home.folder), "JAVA_HOME": str(_java_home())}
    with log.open("wb") as output:
        try:
            code = subprocess.run(command, stdout=output, stderr=output, env=environment, timeout=RESOLVE_SECONDS)
        except subprocess.TimeoutExpired:
            raise _unreachable(home, log, f"no end after {RESOLVE_SECONDS} s") from None
    if code.returncode != 0 or not list((folder / "jars").glob("io.delta_delta-spark*.jar")):
        raise _unreachable(home, log, f"Ivy ended with code {code.returncode}")


def _java_home() -> Path:
    return require_java().path.resolve().parents[1]


def _unreachable(home: SparkHome, log: Path, why: str) -> MachineError:
    return MachineError(
        f"Delta's jars ({home.coordinate}) could not be fetched from Maven Central: {why}",
        where=str(log),
        fix="check the network and run again; behind a proxy set JAVA_TOOL_OPTIONS='-Dhttps.proxyHost=HOST "
        "-Dhttps.proxyPort=PORT'; for a mirror set DEFAULT_ARTIFACT_REPOSITORY to its address",
    )


def _install_jars(home: SparkHome, resolved: Iterable[Path]) -> None:
    target = home.folder / "jars"
    chosen = lacking_jars(resolved, home.own_jars)
    for name in set(_marker(home).get("jars", {})) - {path.name for path in chosen}:
        (target / name).unlink(missing_ok=True)
    for path in chosen:
        _put(path, target / path.name)
    record = {"coordinate": home.coordinate, "jars": {path.name: path.stat().st_size for path in chosen}}
    _write(json.dumps(record, indent=2).encode(), target / MARKER)


def lacking_jars(candidates: Iterable[Path], own: Sequence[Path]) -> list[Path]:
    """The candidates of which Spark brings no class itself.

    Names alone do not tell: Spark has commons-logging's classes in jcl-over-slf4j, and a second copy would win or lose
    by the order of the class path.
    """
    brought = {name for path in own for name in _classes(path)}
    return [path for path in candidates if brought.isdisjoint(_classes(path))]


def _classes(jar: Path) -> set[str]:
    try:
        with zipfile.ZipFile(jar) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise MachineError(
            f"{jar} is not a readable jar: {error}", where=str(jar), fix="delete it, run again"
        ) from None
    return {n for n in names if n.endswith(".class") and not n.startswith("META-INF/") and n != "module-info.class"}


def _marker(home: SparkHome) -> dict[str, Any]:
    try:
        record = json.loads((home.folder / "jars" / MARKER).read_text())
        return record if isinstance(record, dict) else {}
    except (OSError, ValueError):
        return {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    hidden = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, hidden)
    hidden.replace(target)


def _write(content: bytes, target: Path) -> None:
    hidden = target.with_name(f".{target.name}.{os.getpid()}")
    hidden.write_bytes(content)
    hidden.replace(target)


def main() -> int:
    """Completes the installed pyspark; the exit code of the error where that fails."""
    try:
        home = installed()
        install(home)
    except MachineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
