"""All read models, in the order they are written."""

from collections.abc import Iterable

from domain.errors import SettlerError
from projections.control_totals import CONTROL_TOTALS
from projections.definitions import DEFINITIONS
from projections.error_hotspots import ERROR_HOTSPOTS
from projections.exceptions import EXCEPTIONS
from projections.matches import MATCHES
from projections.read_model import ReadModel
from projections.reconciliation_runs import RECONCILIATION_RUNS
from projections.reconciliation_summary import RECONCILIATION_SUMMARY
from projections.tenant_usage import TENANT_USAGE

#: What a model needs stands before it.
READ_MODELS = (
    DEFINITIONS,
    MATCHES,
    EXCEPTIONS,
    RECONCILIATION_SUMMARY,
    CONTROL_TOTALS,
    RECONCILIATION_RUNS,
    TENANT_USAGE,
    ERROR_HOTSPOTS,
)


class UnknownReadModel(SettlerError):
    """A name that no read model has."""

    code = "projection.unknown"

    def __init__(self, name: str) -> None:
        known = ", ".join(model.name for model in READ_MODELS)
        super().__init__(f"there is no projection {name!r}; there are {known}")


def with_needed(names: Iterable[str]) -> list[ReadModel]:
    """Return the models of these names and those they need, in writing order.

    Raises:
        UnknownReadModel: A name is none of ours.
    """
    by_name = {model.name: model for model in READ_MODELS}
    chosen: set[str] = set()
    for name in names:
        if name not in by_name:
            raise UnknownReadModel(name)
        chosen.add(name)
        chosen.update(by_name[name].needs)
    return [model for model in READ_MODELS if model.name in chosen]
