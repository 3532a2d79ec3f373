"""Students measured before any training, and the largest one that is fast enough."""
