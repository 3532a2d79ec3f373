"""PyTorch to ONNX, and the proof that both compute the same."""
