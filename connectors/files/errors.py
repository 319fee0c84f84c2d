"""What can be wrong with a whole file, and with one cell of it."""

from pathlib import Path

from domain.errors import SettlerError


class FileUnusable(SettlerError):
    """Nothing of the file can be used; the message names it and says what to do."""

    code = "files.unusable"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class CellInvalid(SettlerError):
    """One cell cannot be read, so its row becomes a rejection with this code and sentence."""

    code = "files.cell_invalid"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
