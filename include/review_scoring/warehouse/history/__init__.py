"""What the pages and checks read: run history, daily label counts, live counts, rejects, and single reviews."""
