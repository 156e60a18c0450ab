"""What the pages and checks read: run history, daily label counts, live counts, rejects, search and texts.

Each query is a function of (connection, job, *, ...), where `job` is a :class:`JobRecord` of `warehouse.ledger.jobs`.
Those that read several jobs at once take the tables and the ids of the jobs instead.
What is read from the source takes a connection of the source's engine.
"""
