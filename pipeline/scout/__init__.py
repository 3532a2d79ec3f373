"""Latency of untrained students, and the largest one within a latency budget."""
