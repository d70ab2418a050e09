"""Corpora, normalisation and vocabulary: everything that turns text into token ids and back."""
