"""The model file as sessions that are ready to run, and where they run."""
