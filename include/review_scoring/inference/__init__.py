"""Inference with torch: tokenizing, batching, forward passes, labels and scores. No other layer imports torch."""
