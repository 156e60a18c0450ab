"""Convert Spark NLP model archives to Hugging Face folders, without Spark, a JVM or TensorFlow.

The entry point is `convert.convert_archive`. The modules here know the models; `formats/` has one reader for each file
format, which knows nothing of models. Archives are untrusted data: a reader understands a byte or refuses the archive.
"""
