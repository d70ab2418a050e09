"""Text into token ids and back."""
