"""The models that a job can choose: what they are called, where they are, and what their labels mean."""
