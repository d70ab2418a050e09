"""Proofs that a graph equals the Torch model."""
