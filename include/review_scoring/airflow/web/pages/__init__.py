"""Pages: one module each for the overview, runs, reviews, rejects and models."""
