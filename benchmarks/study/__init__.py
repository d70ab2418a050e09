"""The notebook's training against ours: bits per character on held-out text, against CPU time."""
