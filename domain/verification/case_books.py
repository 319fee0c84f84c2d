"""The exceptions of a stream, as matching and the people who work them leave them."""

from domain.casework_events import ExceptionAssigned, ExceptionCommented, ExceptionReopened
from domain.events import Event, ExceptionResolved
from domain.verification.accounts import Accounts
from domain.verification.entries import Case, Member, named
from domain.verification.totals import DUPLICATE


class CaseBooks:
    """Every exception that opened, by its transaction."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._cases: dict[Member, Case] = {}

    def use(self, accounts: Accounts) -> None:
        """Go on with other accounts of the same transactions."""
        self._accounts = accounts

    def open(self, member: Member, category: str, *, anew: bool) -> None:
        """Open a case, or open it again; whoever was assigned stays so.

        Args:
            anew: Where it is a duplicate's, another record may have come under its id.

        Raises:
            Difference: It is open already, and not of a duplicate.
        """
        before = self._cases.get(member)
        if before is None:
            self._cases[member] = Case(category)
            return
        # Of a duplicate that was forgotten it stays open, and its id may come anew.
        if before.is_open and not (anew and before.category == DUPLICATE):
            self._accounts.differs(f"an exception opened twice for {named(member)}")
        before.category, before.is_open, before.set_aside = category, True, False

    def find_open(self, member: Member) -> Case:
        """Give the case that matching holds open for a transaction."""
        case = self._cases.get(member)
        if case is None or not case.is_open:
            self._accounts.differs(f"no exception is open for {named(member)}")
        return case

    def work(self, event: Event) -> Member:
        """Book what a person did with a case, and give the transaction it is about.

        What comes behind a match that closed it changes nothing but who is assigned and what was
        said.
        """
        if not isinstance(
            event,
            ExceptionAssigned | ExceptionCommented | ExceptionResolved | ExceptionReopened,
        ) or (isinstance(event, ExceptionResolved) and event.command_id is None):
            self._accounts.differs(f"{type(event).__name__} is nothing a person does", "log")
        member = (event.side, event.transaction_id)
        case = self._cases.get(member)
        if case is None:
            self._accounts.differs(f"no exception ever opened for {named(member)}", "log")
        if isinstance(event, ExceptionAssigned):
            case.assigned = event.assignee is not None
        elif isinstance(event, ExceptionCommented):
            case.comments += 1
        elif case.is_open:
            case.set_aside = isinstance(event, ExceptionResolved)
        return member

    def counts(self) -> tuple[int, int, int, int]:
        """Count the open cases, the closed ones, those in progress, and the comments."""
        to_do = [case for case in self._cases.values() if case.is_to_do]
        return (
            len(to_do),
            len(self._cases) - len(to_do),
            sum(case.assigned for case in to_do),
            sum(case.comments for case in self._cases.values()),
        )
