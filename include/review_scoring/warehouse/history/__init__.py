"""What the pages and checks read: run history, daily label counts, live counts, rejects, search and texts.

Each query is a function of (connection, job, *, ...), where `job` is the :class:`~.jobs.JobRecord`. Those that read the
source take a connection of its engine.
"""
