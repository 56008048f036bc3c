"""`spark-submit jobs/search.py …` does what `nightmill search …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["search", *sys.argv[1:]]))
