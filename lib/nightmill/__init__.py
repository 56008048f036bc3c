"""Nightmill: nightly Spark, Delta, Ray Train and PyTorch jobs for cities and factories."""

__version__ = "0.1.0"
