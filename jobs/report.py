"""`spark-submit jobs/report.py …` does what `nightmill report …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["report", *sys.argv[1:]]))
