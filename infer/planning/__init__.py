"""How some work is done: path, precision, threads, width."""
