"""`spark-submit jobs/backtest.py …` does what `nightmill backtest …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["backtest", *sys.argv[1:]]))
