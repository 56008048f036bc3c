"""`spark-submit jobs/score.py …` does what `nightmill score …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["score", *sys.argv[1:]]))
