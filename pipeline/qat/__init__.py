"""Quantisation-aware recovery: the int8 student goes on learning from the teacher's answers."""
