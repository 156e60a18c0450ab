"""Readers of the file formats in a Spark NLP archive: zip, Spark ML, TensorFlow checkpoint, SentencePiece."""
