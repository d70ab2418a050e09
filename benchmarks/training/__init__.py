"""Where a training step's time goes, and how much of the machine's peak it is."""
