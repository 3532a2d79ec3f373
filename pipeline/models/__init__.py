"""Networks, their initial weights, and classifiers on disk."""
