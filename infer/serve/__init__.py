"""Completions, scores and states over HTTP; the extra `serve` has what this imports."""
