"""Benchmark sets, evaluations and promotions: the tables of model evaluation in the warehouse."""
