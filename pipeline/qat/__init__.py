"""Quantization-aware training (QAT): distillation continues with int8 in the forward pass."""
