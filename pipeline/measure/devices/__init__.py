"""Devices that models are measured on: this machine, and others over OpenSSH."""
