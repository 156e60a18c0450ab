"""Readers of the file formats in a Spark NLP archive. They know nothing of models."""
