"""`spark-submit jobs/evaluate.py …` does what `nightmill evaluate …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
