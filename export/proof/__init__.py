"""Proofs that the graphs of a model's files equal the Torch model."""
