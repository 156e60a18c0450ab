"""What is scored: leases, chunks, counts, and the rows of scores and rejects."""
