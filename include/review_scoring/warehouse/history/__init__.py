"""What the pages and checks read: run history, daily label counts, live counts, rejects, search and texts.

Each query is a function of (connection, job, *, ...), where `job` is a :class:`JobRecord` of `warehouse.ledger.jobs`.
What is read from the source takes a connection of the source's engine.
"""
