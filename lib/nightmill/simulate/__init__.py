"""A city and its plants with known truth and known dirt, of any size, written by Spark. One small file per system."""

from nightmill.simulate.run import Simulated, simulate

__all__ = ["Simulated", "simulate"]
