"""Publishing: copies the scores of a job into a table of another database, by staging and one atomic statement."""
