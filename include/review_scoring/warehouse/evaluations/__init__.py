"""Benchmark sets, evaluations and promotions in the warehouse."""
