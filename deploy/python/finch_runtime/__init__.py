"""Finch's device runtime: classify photographs with an unpacked bundle, and time it.

Needs NumPy, Pillow and one of ONNX Runtime and OpenVINO; never torch, never the network.
"""
