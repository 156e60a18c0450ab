"""The promises of this package, tried on a user's own database: what `review-scoring check-connection` runs.

The tests run the same promises on every database that they have.
"""
