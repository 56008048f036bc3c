"""Writes predictions: Spark distributes slices, tasks read, predict and write Parquet, one Delta commit replaces a day."""

from nightmill.score.stage import Scored, score

__all__ = ["Scored", "score"]
