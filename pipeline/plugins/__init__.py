"""The four tables of plug-ins.

A plug-in is one file that registers itself under a name, in the package that a table names or in
another installed package, through the entry point group ``finch.plugins``. See
docs/contributing.md.
"""

from pipeline.plugins.registry import Registry

LOSSES = Registry("method", "pipeline.losses")
"""Training losses, by ``distill.method``."""

SOURCES = Registry("source", "pipeline.data.sources")
"""Data sources, by ``prepare.source``."""

RUNTIMES = Registry("runtime", "pipeline.quantize.runtimes")
"""Makers of candidates, by ``runtime`` of ``quantize.candidates``."""

SECTIONS = Registry("report section", "pipeline.report.sections")
"""Sections of the report page."""

__all__ = ["LOSSES", "RUNTIMES", "SECTIONS", "SOURCES", "Registry"]
