"""Accuracy, latency and resource usage of models, on this machine and on other devices."""
