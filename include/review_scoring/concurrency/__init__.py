"""A thread in the background, and the flag that cancels a run."""
