"""The demo: the whole product on one machine, on generated data whose right result is known."""
