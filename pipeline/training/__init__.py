"""One loop for fine-tuning and for distillation."""
