"""The run folder: what is in it, reading it, writing it, going on with it."""

STATE = "training_state.pt"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
LOCK = ".lock"
