"""Beginning a run: settings by the size of the text, weights to begin from."""
