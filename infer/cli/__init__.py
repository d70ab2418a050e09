"""Writing a text in turns with a model, at a terminal."""
