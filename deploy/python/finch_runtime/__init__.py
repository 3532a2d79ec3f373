"""Finch's device runtime: classifies images with an unpacked bundle, and benchmarks models.

Requires NumPy, Pillow, and ONNX Runtime or OpenVINO; uses neither PyTorch nor the network.
"""
