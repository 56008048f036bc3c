"""Silver -> gold: what a model sees of each row, known at that row's time; stateless."""

from nightmill.features.stage import Engineered, engineer

__all__ = ["Engineered", "engineer"]
