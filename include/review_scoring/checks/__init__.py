"""Whether what a run wrote is plausible."""
