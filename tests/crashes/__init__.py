"""Training runs that are struck at random moments, and whether resuming gives what it should."""
