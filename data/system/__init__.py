"""What every command shares: errors, the console, files, cores."""
