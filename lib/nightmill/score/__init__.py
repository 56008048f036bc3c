"""Predictions: Spark distributes slices, tasks predict and write Parquet, one Delta commit replaces a day."""

from nightmill.score.stage import Scored, score

__all__ = ["Scored", "score"]
