"""Backtests on published data, each from raw files by the public command, in one table: `make backtest`.

A backtest that was cut off goes on from what its lake holds when it is asked again; of one that has ended the lake is
removed. Use cases that are not asked for keep their rows.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from memory import peak, tree

from nightmill import provenance
from nightmill.metrics import METRICS

HERE = Path(__file__).parent
NIGHTMILL = Path(sys.executable).with_name("nightmill")
COLUMNS = (
    "use case", "figure", "seen", "spread", "best naive rule", "published", "floor", "goal", "seeds", "s",
    "peak PSS, MiB", "measured",
)  # fmt: skip
HEAD = f"""# Backtests on published data

Mean over the seeds, and their spread, of figures on the test part. Seconds and memory are of the whole command, from
raw files to the figures, all seeds together. Each use case has a page of its own beside this one.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
"""


@dataclass
class Ran:
    """A backtest that has ended."""

    use_case: str
    table: dict[str, Any]
    seconds: float
    memory: float
    """MiB."""

    def rows(self, asked: list[dict[str, Any]]) -> list[str]:
        """The table's lines: what is asked of the use case."""
        return [self._row(one) for one in asked]

    def missed(self, asked: list[dict[str, Any]]) -> bool:
        """Whether a figure is short of its floor."""
        return any("**missed**" in row for row in self.rows(asked))

    def _row(self, one: dict[str, Any]) -> str:
        values, seeds = self._values("model", one), len(self.table["seeds"])
        if not values:
            raise KeyError(f"{self.use_case} has no figure {one['metric']}")
        seen, higher = float(np.mean(values)), one["metric"] not in METRICS or METRICS[one["metric"]].higher
        floor, goal = one.get("floor"), one.get("goal")
        holds = floor is None or (seen >= floor if higher else seen <= floor)
        reached = goal is not None and (seen >= goal if higher else seen <= goal)
        name = one["metric"] + (f", step {one['at']}" if "at" in one else "") + self._inputs(one)
        cells = [
            self.use_case, name, f"{seen:.4g}", f"{np.ptp(values):.2g}", one.get("naive") or self._naive(one, higher),
            one.get("published", ""), "" if floor is None else f"{floor:g}" + ("" if holds else " **missed**"),
            "" if goal is None else f"{goal:g}" + (" reached" if reached else ""), seeds, f"{self.seconds:.0f}",
            f"{self.memory:.0f}", f"{self.table['date']}, {self.table['commit']}",
        ]  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |\n"

    @staticmethod
    def _inputs(one: dict[str, Any]) -> str:
        return f", {one['inputs']}" if "inputs" in one else ""

    def _values(self, of: str, one: dict[str, Any]) -> list[float]:
        """By seed; none where it was not measured."""
        if "inputs" in one:
            return list(self.table["stress"][one["inputs"]]) if of == "model" else []
        found = (of, one["metric"], one.get("at"))
        return next((r["values"] for r in self.table["rows"] if (r["of"], r["metric"], r["horizon"]) == found), [])

    def _naive(self, one: dict[str, Any], higher: bool) -> str:
        rules = {row["of"] for row in self.table["rows"]} - {"model"}
        found = {rule: float(np.mean(values)) for rule in rules if (values := self._values(rule, one))}
        if not found:
            return ""
        best = (max if higher else min)(found, key=lambda rule: found[rule])
        return f"{found[best]:.4g} ({best.replace('_', ' ')})"


def backtest(use_case: str, raw: Path, results: Path, folder: Path, seeds: int | None) -> Ran:
    """Runs the public command in a process of its own."""
    lake = folder / use_case.replace("/", "-")
    command = [NIGHTMILL, "backtest", use_case, "--raw", raw, "--lake", lake, "--results", results, "--json"]
    command += ["--seeds", str(seeds)] if seeds else []
    begun = time.monotonic()
    with peak(tree, 0.5) as most:
        ran = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        raise SystemExit(f"{use_case}: exit code {ran.returncode}\n{ran.stdout}")
    seconds = time.monotonic() - begun
    shutil.rmtree(lake)
    return Ran(use_case, json.loads(ran.stdout)["results"][use_case], seconds, most[0])


def before(page: Path) -> dict[str, list[str]]:
    """Use case -> the lines that the page has of it."""
    found: dict[str, list[str]] = {}
    for line in page.read_text().splitlines(keepends=True) if page.exists() else ():
        if named := re.match(r"\| (\w+/\w+) \|", line):
            found.setdefault(named[1], []).append(line)
    return found


def main() -> int:
    """Writes each use case's rows as it ends; 1 where a floor is missed."""
    asked = yaml.safe_load((HERE / "asked.yaml").read_text())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("use_cases", nargs="*", help="all without it")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/backtest"))
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--seeds", type=int)
    given = parser.parse_args()
    if unknown := [name for name in given.use_cases if name not in asked]:
        parser.error(f"{unknown[0]} is not in {HERE / 'asked.yaml'}: name one of {', '.join(asked)}")
    page, missed = given.results / "backtests.md", []
    given.results.mkdir(parents=True, exist_ok=True)
    for use_case in given.use_cases or asked:
        ran = backtest(use_case, given.raw, given.results, given.folder, given.seeds)
        kept = before(page) | {use_case: ran.rows(asked[use_case])}
        page.write_text(HEAD + "".join(row for name in asked for row in kept.get(name, [])) + f"\n{MACHINE}\n")
        print("".join(kept[use_case]), flush=True)
        missed += [use_case] if ran.missed(asked[use_case]) else []
    if missed:
        print(f"short of a floor: {', '.join(missed)}")
    return 1 if missed else 0


MACHINE = f"On {provenance.machine()}."

if __name__ == "__main__":
    raise SystemExit(main())
