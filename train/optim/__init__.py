"""One step of training: loss, optimisers, schedule."""
