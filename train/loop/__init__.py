"""The text as batches: streams, or windows in shuffled order."""
