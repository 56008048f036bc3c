"""`spark-submit jobs/migrate.py …` does what `nightmill migrate …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["migrate", *sys.argv[1:]]))
