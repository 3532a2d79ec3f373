"""Finch's library: from photographs to a compressed student. No Click, no DVC in here."""
