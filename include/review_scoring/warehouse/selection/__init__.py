"""Which reviews of the source a run looks at, and how they are split into shards."""
