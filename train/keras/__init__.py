"""Keras models read as runs."""
