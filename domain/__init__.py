"""The pure core: money, transactions, definitions, matching, events. No I/O, clock or chance."""
