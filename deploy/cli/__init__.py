"""The `settler` command, one module per group of commands."""
