"""The search behind the training recipe's defaults: one variant a run, one line a result."""
