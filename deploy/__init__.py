"""What composes and runs the rest: the `settler` command, embedded services, supervisor."""
