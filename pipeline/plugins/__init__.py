"""The four registries of plug-ins.

A plug-in is a class or function that is registered under a name. Its module belongs to the package
of the registry, or is an entry point in the group ``finch.plugins`` of another installed package.
See docs/contributing.md.
"""

from pipeline.plugins.registry import Registry

LOSSES = Registry("method", "pipeline.losses")
"""Training losses, by ``distill.method``."""

SOURCES = Registry("source", "pipeline.data.sources")
"""Data sources, by ``prepare.source``."""

RUNTIMES = Registry("runtime", "pipeline.quantize.runtimes")
"""Inference runtimes, by ``runtime`` of ``quantize.candidates``."""

SECTIONS = Registry("report section", "pipeline.report.sections")
"""Sections of the report page."""

__all__ = ["LOSSES", "RUNTIMES", "SECTIONS", "SOURCES", "Registry"]
