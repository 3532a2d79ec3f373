"""Selects the candidate that ships, packs it, and verifies the archive."""
