"""From logits to a character: random numbers, temperature, filters, stop strings."""
