"""Many texts side by side, from requests to what is written."""
