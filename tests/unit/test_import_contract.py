"""The house's import contract: `[tool.importlinter]` in pyproject.toml, and what it cannot say."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.py"))
PACKAGES = ("ingest", "clean", "features", "train", "evaluate", "score", "monitor", "report", "simulate")
PACKAGES += ("handoff", "lake", "models", "metrics", "config")
HEAVY = ("torch", "ray", "mlflow", "pyspark", "pandas")


def _lint(config: Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache", "--config", config]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_no_module_imports_against_the_contract() -> None:
    answer = _lint(ROOT / "pyproject.toml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("config/greedy.py", "import nightmill.lake"),
        ("clean/greedy.py", "import nightmill.features"),
        ("metrics/greedy.py", "def f():\n    import pyspark"),
        ("handoff/greedy.py", "import nightmill.spark"),
        ("score/greedy.py", "def f():\n    import ray.train"),
    ],
)
def test_the_contract_refuses(tmp_path: Path, module: str, line: str) -> None:
    for package in PACKAGES:
        (tmp_path / "nightmill" / package).mkdir(parents=True)
        (tmp_path / "nightmill" / package / "__init__.py").touch()
    for file in ("__init__.py", "cli.py", "errors.py", "spark.py"):
        (tmp_path / "nightmill" / file).touch()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    assert _in_house(tmp_path) == 0
    (tmp_path / "nightmill" / module).write_text(line + "\n")
    assert _in_house(tmp_path) == 1


def _in_house(folder: Path) -> int:
    # the command line finds the installed package; this house lies elsewhere
    program = f"""
        import sys
        sys.path.insert(0, {str(folder)!r})
        from importlinter.cli import lint_imports
        sys.exit(lint_imports(config_filename={str(folder / "pyproject.toml")!r}, no_cache=True))
    """
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=folder, capture_output=True).returncode


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_calls_the_command_and_nothing_else(job: Path) -> None:
    tree = ast.parse(job.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - {"__future__", "sys"} == {"nightmill.cli"}


def test_the_command_starts_without_heavy_imports() -> None:
    program = f"import sys, nightmill.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
