"""The only rooms with SQL: where reviews come from and where scores go."""
