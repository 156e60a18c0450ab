"""How good a model is, beside what its publisher states and beside the last time."""
