"""Spark NLP model archives, read without Spark, a JVM or TensorFlow, and turned into Hugging Face folders.

`convert.convert_archive` is the way in. Every other module here reads one format and knows nothing of the
others: an archive comes from outside and is data only, so a reader either understands a byte or refuses it by
name.
"""
