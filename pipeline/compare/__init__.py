"""Comparison of distillation methods with the same budget."""
