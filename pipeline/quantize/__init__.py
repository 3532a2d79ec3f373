"""Candidates for deployment: the student per runtime and precision, with mixed precision."""
