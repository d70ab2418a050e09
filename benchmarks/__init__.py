"""Measurements of speed and memory against the notebook and the machine's limits, and reports."""

from charlm.data.system.package import lazily

__getattr__, __dir__ = lazily(__name__, {})
