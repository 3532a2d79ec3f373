"""Distillation methods on equal terms."""
