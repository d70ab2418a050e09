"""The run folder: what is in it, reading it, writing it, going on with it."""

STATE = "training_state.pt"
CONFIG = "config.json"
LOCK = ".lock"
