"""`nightmill doctor`: each thing that can be missing, and that it is said."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from nightmill.config import Configuration, Environment
from nightmill.config.environment import Mlflow, Night
from nightmill.doctor import Check, engines, examine, exit_code, machine, places, render
from nightmill.doctor.examine import _looked_at
from nightmill.errors import MachineError

CONF = Path(__file__).parents[2] / "conf"
GIB = 1 << 30


def shown(checks: list[Check]) -> str:
    text = StringIO()
    render(checks, Console(file=text, width=100))
    return text.getvalue()


def test_a_complete_machine_has_no_failure_and_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=64 * GIB))
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GIB))
    raw = tmp_path / "raw"
    (raw / "city").mkdir(parents=True)
    checks = examine(Configuration.load(CONF, raw=str(raw), lake=str(tmp_path / "new" / "lake")))
    by_name = {check.name: check for check in checks}
    engines_found = {"Python", "Java", "Spark", "torch", "GPU", "Ray"}
    assert engines_found | {"memory", "lake", "lake's disk", "raw drops", "loopback ports", "host name"} <= set(by_name)
    assert [check for check in checks if check.state == "fail"] == []
    assert by_name["lake"].found == f"{tmp_path}/new/lake (will be created)"
    assert [path.name for path in tmp_path.rglob("*")] == ["raw", "city"]


@pytest.mark.parametrize(
    ("states", "code"), [([], 0), (["ok", "ok"], 0), (["ok", "warn"], 0), (["warn", "fail", "ok"], 2)]
)
def test_only_a_failure_gives_exit_code_2(states: list[str], code: int) -> None:
    assert exit_code([Check("x", state, "") for state in states]) == code  # type: ignore[arg-type]


def test_the_table_shows_what_was_found_and_what_to_do() -> None:
    text = shown([Check("Java", "fail", "Java 8 [old]", "install 17"), Check("disk", "ok", "7 GiB")])
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert lines == [["fail", "Java", "Java", "8", "[old]"], ["fix:", "install", "17"], ["ok", "disk", "7", "GiB"]]


def test_what_cannot_be_looked_at_is_a_failed_check() -> None:
    def refused() -> Check:
        raise MachineError("Java is missing", fix="install it")

    def broken() -> Check:
        raise RuntimeError("boom")

    assert _looked_at("Java", refused) == Check("Java", "fail", "Java is missing", "install it")
    assert _looked_at("torch", broken) == Check("torch", "fail", "RuntimeError: boom")


def test_no_java_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = _looked_at("Java", engines.java)
    assert check.state == "fail" and "Java is missing" in check.found and "apt install" in check.fix


def test_spark_without_deltas_jars_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightmill.jars.missing", lambda home: ["delta-spark.jar", "log4j2.properties"])
    local = engines.spark(Environment())
    assert local.state == "fail" and "delta-spark.jar" in local.found and local.fix == "run `make setup`"
    cluster = engines.spark(Environment.model_validate({"spark": {"master": None}}))
    assert cluster.state == "warn" and "--packages io.delta:delta-spark_" in cluster.fix


def test_another_spark_home_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    check = engines.spark(Environment())
    assert check.state == "warn" and str(tmp_path) in check.found and "unset SPARK_HOME" in check.fix


@pytest.mark.parametrize(
    ("free", "state"), [(8 * GIB, "ok"), (4 * GIB, "ok"), (3 * GIB, "warn"), (GIB, "fail"), (0, "fail")]
)
def test_memory_is_judged_by_what_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str
) -> None:
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert machine.memory(tmp_path).state == state


def test_the_containers_limit_counts_where_it_is_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GIB))
    monkeypatch.setattr(machine, "container_memory", lambda cgroups: 3 * GIB)
    check = machine.memory()
    assert check.state == "warn" and check.found.startswith("3.0 GiB available within the container's limit")


def group(folder: Path, limit: str, used: str, inactive: int, version: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")}
    limit_file, used_file, key = names.get(version, ("memory.max", "memory.current", "inactive_file"))
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / used_file).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 7\n{key} {inactive}\n")


@pytest.mark.parametrize(
    ("version", "line", "below"), [(2, "0::/night/job", ""), (1, "4:cpu,memory:/night/job\n0::/", "memory")]
)
def test_the_tightest_control_group_counts(tmp_path: Path, version: int, line: str, below: str) -> None:
    own, root = tmp_path / "own", tmp_path / "groups"
    own.write_text(line + "\n")
    group(root / below / "night" / "job", "1000", "200", 50, version)
    group(root / below / "night", "900", "500", 100, version)
    assert machine.container_memory(root, own) == 500
    group(root / below / "night", "max" if version == 2 else str(1 << 62), "500", 100, version)
    assert machine.container_memory(root, own) == 850


def test_no_control_group_means_no_limit(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/\n")
    assert machine.container_memory(tmp_path, tmp_path / "own") is None
    assert machine.container_memory(tmp_path, tmp_path / "absent") is None


@pytest.mark.parametrize(("free", "state"), [(6 * GIB, "ok"), (2 * GIB, "warn"), (GIB // 2, "fail")])
def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert machine.temporary_files().state == state
    assert places.lake_disk(Environment(lake=str(tmp_path / "not" / "yet"))).state == state


def test_small_shared_memory_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=64 << 20))
    check = machine.shared_memory(tmp_path)
    assert check.state == "warn" and "--shm-size" in check.fix
    assert machine.shared_memory(tmp_path / "absent").state == "ok"


def raising(error: OSError) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_closed_ports_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.loopback_ports().state == "ok"
    monkeypatch.setattr(socket, "create_server", raising(PermissionError(13, "Permission denied")))
    check = machine.loopback_ports()
    assert check.state == "fail" and "Permission denied" in check.found and "127.0.0.1" in check.fix


def test_a_host_name_without_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    monkeypatch.setattr(socket, "gethostname", lambda: "mill")
    monkeypatch.setattr(socket, "gethostbyname", raising(socket.gaierror(-2, "unknown")))
    check = machine.host_name()
    assert check.state == "fail" and "127.0.1.1 mill" in check.fix
    monkeypatch.setattr(socket, "gethostbyname", lambda host: "192.0.2.7")
    assert machine.host_name().state == "warn"
    monkeypatch.setattr(socket, "gethostbyname", lambda host: "127.0.1.1")
    assert machine.host_name().state == "ok"


def test_a_lake_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert places.lake(Environment(lake=str(tmp_path))).state == "ok"
    monkeypatch.setattr("tempfile.TemporaryFile", raising(PermissionError(13, "Permission denied")))
    check = places.lake(Environment(lake=str(tmp_path / "lake")))
    assert check.state == "fail" and "Permission denied" in check.found and str(tmp_path) in check.fix
    monkeypatch.setattr("tempfile.TemporaryFile", raising(OSError(28, "No space left on device")))
    assert places.lake(Environment(lake=str(tmp_path))).fix == "free space on that disk"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_lake_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert places.lake(Environment(lake=str(tmp_path))).state == "fail"


def test_a_lake_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "lake").touch()
    assert "is a file, not a folder" in places.lake(Environment(lake=str(tmp_path / "lake" / "city"))).found


def test_a_lake_in_an_object_store_is_written_and_read() -> None:
    assert places.lake(Environment(lake="memory:///lake")).state == "ok"
    check = places.lake(Environment(lake="ftp://somewhere/lake"))
    assert check.state == "fail" and "address" in check.fix


def test_the_raw_folder_is_looked_at_where_one_is_given(tmp_path: Path) -> None:
    assert places.raw(Environment()).state == "ok"
    assert places.raw(Environment(raw=str(tmp_path / "absent"))).state == "fail"
    assert places.raw(Environment(raw=str(tmp_path))).state == "warn"
    (tmp_path / "city").mkdir()
    assert places.raw(Environment(raw=str(tmp_path))).state == "ok"
    assert places.raw(Environment(raw="memory:///raw")).state == "ok"


def test_wanted_but_absent_gpus_are_told() -> None:
    import torch

    if torch.cuda.is_available():
        assert engines.gpu(Environment()).state == "ok"
    else:
        assert engines.gpu(Environment()).found.startswith("none")
        assert engines.gpu(Environment.model_validate({"ray": {"gpus": True}})).state == "fail"


def test_alarms_that_could_not_be_told_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NIGHTMILL_WEBHOOK", "https://hooks.example/T0/secret")
    fine = places.alarms(Environment(night=Night(prometheus=str(tmp_path / "night.prom"))))
    assert fine.state == "ok" and "hooks.example" in fine.found and "secret" not in fine.found
    assert places.alarms(Environment(night=Night(prometheus=str(tmp_path / "file" / "night.prom")))).state == "warn"
    monkeypatch.setenv("NIGHTMILL_WEBHOOK", "hooks.example/secret")
    wrong = places.alarms(Environment())
    assert wrong.state == "warn" and "secret" not in wrong.found + wrong.fix


def test_an_mlflow_server_that_does_not_answer_is_told() -> None:
    assert places.models(Environment()).state == "ok"
    silent = places.models(Environment(mlflow=Mlflow(uri="http://user:hunter22@127.0.0.1:9")))
    assert silent.state == "fail" and "hunter22" not in silent.found
