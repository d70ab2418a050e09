"""Training on a corpus of gigabytes, and the memory that it takes of its own."""
