"""Judges models on the test part: metrics against baselines, and promotion."""
