"""Models: the catalogue, imported model folders with their labels, the model store, downloads, Spark NLP conversion."""
