"""The figures of a run as one page that a person can read."""
