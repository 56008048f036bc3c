"""Defects of simulated moulding: our model against logistic regression, trees and the truth: `make bench-quality`.

Each of five simulations is one plant; a fifth of its presses, each with settings of its own, is tested at a time by a
model of the others. The oracle says the very probability that the simulation draws from: none can be better.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from page import Report

from nightmill import commands, provenance
from nightmill.commands import Work
from nightmill.config import Configuration
from nightmill.lake.writes import read
from nightmill.metrics.pr_auc import pr_auc
from nightmill.simulate import simulate
from nightmill.simulate.moulding import chances

START, DAYS, PRESSES = date(2026, 3, 2), 14, 20
HERE = Path(__file__).parent / "quality"
OURS = "factory/moulding"
CASES = {"logistic regression": str(HERE / "logistic.yaml"), "trees": str(HERE / "trees.yaml"), "ours": OURS}
HEAD = """# Moulding: defects by process values

{stamp}
PR-AUC on presses that training has not seen, mean of five folds; {presses} presses, {days} days, a part every five
minutes. Each row is another simulation. The oracle is the probability that defects are drawn from.
"""


def measured(folder: Path, seed: int) -> dict[str, float]:
    """Who predicts -> PR-AUC, of one simulation."""
    raw, days = folder / f"raw{seed}", [START + timedelta(days=n) for n in range(DAYS)]
    configuration = Configuration.load(Path("conf"), raw=str(raw.absolute()), lake=str(folder / f"lake{seed}"))
    work = Work(configuration, "backtest", days, seeds=1)
    simulate(
        work.spark(), str(raw.absolute()), start=START, days=DAYS, seed=seed, sizes={"moulding": PRESSES}, only=[OURS]
    )
    outcome = commands.backtest(work, [*CASES.values()], lambda _: None)
    if outcome.failures:
        raise SystemExit(str(outcome.failures))
    found = [result.figure("model", "pr_auc") for result in outcome.results.values()]
    return dict(zip(CASES, found, strict=True)) | {"oracle": oracle(work)}


def oracle(work: Work) -> float:
    """PR-AUC of the true probability, mean of five folds of presses."""
    gold = work.lake.table("gold", OURS)
    rows = (
        read(work.spark(), gold, gold.version() or 0).select("entity", "target", chances().alias("chance")).toPandas()
    )
    presses = rows.groupby("entity").target.mean().sort_values().index
    parts = [rows[rows.entity.isin(presses[fold::5])] for fold in range(5)]
    return float(np.mean([pr_auc(part.target, part.chance) for part in parts]))


def main() -> int:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-quality"))
    parser.add_argument("--seeds", type=int, default=5, help="simulations")
    parser.add_argument("--results", type=Path, help="folder that receives the page")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    shutil.rmtree(given.folder, ignore_errors=True)
    page = Report(HEAD.format(stamp=provenance.stamp(), presses=PRESSES, days=DAYS))
    page.head("Who predicts", "simulation", *CASES, "oracle")
    found = [measured(given.folder, seed) for seed in range(given.seeds)]
    for seed, figures in enumerate(found):
        page.row(seed, *(f"{figure:.3f}" for figure in figures.values()))
    mean = {who: float(np.mean([figures[who] for figures in found])) for who in found[0]}
    page.row("mean", *(f"{figure:.4f}" for figure in mean.values()))
    page.head("Bounds", "what", "seen", "bound")
    plain, ours, best = mean["logistic regression"], mean["ours"], mean["oracle"]
    page.row("plain logistic regression", f"{plain:.3f}", "0.65 to 0.85", holds=0.65 <= plain <= 0.85)
    page.row("ours", f"{ours:.4f}", f"trees, {mean['trees']:.4f}, or better", holds=ours >= mean["trees"])
    half = (mean["trees"] + best) / 2
    page.say(f"Half the way from trees to the oracle would be {half:.4f}.")
    return page.finish(given.results, "bench-quality.md")


if __name__ == "__main__":
    raise SystemExit(main())
