"""`settler bench chaos`: the real system under load, broken on purpose, and judged."""
