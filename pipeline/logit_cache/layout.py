"""The files of a logit cache."""

FORMAT = 2
INFO = "cache.json"
LOGITS = "logits.npy"
VIEWS = "views.npy"
