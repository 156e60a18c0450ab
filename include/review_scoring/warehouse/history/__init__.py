"""What the pages read: runs, labels by day, live counts, and single reviews."""
