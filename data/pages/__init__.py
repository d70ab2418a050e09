"""Tables, pictures and pages that reports are made of."""
