"""`charlm serve` under load: what it costs, and whether every text is right."""
