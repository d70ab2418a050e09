"""Bits per character of texts."""
