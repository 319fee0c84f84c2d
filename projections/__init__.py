"""Read models folded from the event store, and the runner that keeps them current."""
