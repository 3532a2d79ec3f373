"""For every test: no runtime reports home."""

from finch_runtime.telemetry import turn_off

turn_off()
