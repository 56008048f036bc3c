"""`spark-submit jobs/features.py …` does what `nightmill features …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["features", *sys.argv[1:]]))
