"""The only rooms with torch: texts in, labels and scores out."""
