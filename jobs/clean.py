"""`spark-submit jobs/clean.py …` does what `nightmill clean …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["clean", *sys.argv[1:]]))
