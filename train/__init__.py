"""The Torch model, its training, and the run folder that training leaves."""
