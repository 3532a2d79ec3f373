"""Quantization-aware training (QAT): distillation with fake quantization."""
