"""The user's table or view of reviews: opened and checked, and read page by page."""
