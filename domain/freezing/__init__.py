"""State bigger than memory: what has not been touched for long lies in blocks outside of it."""
