"""Measurements of speed and memory against the notebook and the machine's limits, and reports."""
