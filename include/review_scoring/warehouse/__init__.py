"""The database layer, the only package with SQL: source, ledger, history, dialects, migrations, retries, timeouts."""
