"""`python -m nightmill …` does what `nightmill …` does."""

from nightmill.cli import entry

entry()
