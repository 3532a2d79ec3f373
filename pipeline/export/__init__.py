"""Export from PyTorch to ONNX, and comparison of the outputs."""
