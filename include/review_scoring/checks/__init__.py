"""Checks of a run's results: are they plausible?"""
