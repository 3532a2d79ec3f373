"""Inference runtimes that candidates are made for, one file each."""
