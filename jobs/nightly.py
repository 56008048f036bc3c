"""`spark-submit jobs/nightly.py …` does what `nightmill nightly …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["nightly", *sys.argv[1:]]))
