"""Selects the candidate to ship, packs the bundle, and verifies it on the test split."""
