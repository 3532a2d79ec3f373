"""The parts of benchmarks/gpu.py, one module each, and what runs and shows them."""
