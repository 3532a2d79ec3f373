"""Inference runtimes that candidates are made for, one module each."""
