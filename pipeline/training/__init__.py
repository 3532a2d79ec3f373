"""One training loop for fine-tuning, distillation and quantization-aware training."""
