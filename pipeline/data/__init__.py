"""Data sources, checks, splits and packed images."""
