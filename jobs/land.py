"""`spark-submit jobs/land.py …` does what `nightmill land …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["land", *sys.argv[1:]]))
