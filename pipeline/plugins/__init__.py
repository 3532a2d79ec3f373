"""The four tables of plug-ins, and what turns a plug-in's signature into parameters.

A plug-in is one file that registers itself under a name. The built-in ones lie in the package that
a table names; another installed package adds its own through the entry point group
``finch.plugins``. See docs/contributing.md.
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
