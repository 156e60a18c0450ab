"""Cancellation of a run, and a background thread that never blocks the end of a process."""
