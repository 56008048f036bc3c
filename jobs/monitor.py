"""`spark-submit jobs/monitor.py …` does what `nightmill monitor …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["monitor", *sys.argv[1:]]))
