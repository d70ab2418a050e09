"""The graphs, built node by node."""
