"""`spark-submit jobs/train.py …` does what `nightmill train …` does."""

import sys

from nightmill.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
