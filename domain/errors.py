"""The base of every error this project raises on purpose."""


class SettlerError(Exception):
    """An operating failure or refusal that a person can act on.

    Each subclass lives in the module of its concern and sets `code`, a stable dotted or plain
    name that logs, the API and the command line show beside the sentence.
    """

    code = "settler.error"
