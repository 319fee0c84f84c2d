"""Everything the flow reads, as one input of Bytewax.

Bytewax counts the epochs of an input by the clock at which that input happens to look, and lets no
input read on before all of them have ended their epochs. Of two inputs the one that looks less
often has the longer epochs. The other runs ahead by the difference at every one of them, until it
reads once an epoch and spins in between. The parts of one input look together.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from typing_extensions import override

Part = StatefulSourcePartition[Any, Any]


class Inputs(FixedPartitionedSource[Any, Any]):
    """The parts of everything there is to read; which worker reads which is Bytewax's choice.

    Args:
        parts: Gives for each part's name what makes it; asked before anything is read.
    """

    def __init__(self, parts: Callable[[], Mapping[str, Callable[[], Part]]]) -> None:
        self._parts = parts

    @override
    def list_parts(self) -> list[str]:
        return list(self._parts())

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> Part:
        return self._parts()[for_part]()
