"""`spark-submit jobs/simulate.py …` does what `nightmill simulate …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["simulate", *sys.argv[1:]]))
