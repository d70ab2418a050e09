"""The evidence of a run: how good the model is, beside what, why, and what to try next."""
