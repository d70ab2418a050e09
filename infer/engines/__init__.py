"""What draws characters and reads texts, path by path."""
