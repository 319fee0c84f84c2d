"""One suite for every twin: what the real connector promises, its stand-in promises too."""
