"""Live progress: a bar on a terminal, else a plain line now and then."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from deploy.demo.figures import Figures

LINE_SECONDS = 2.0


class Display(Protocol):
    """Shows how far the demo is."""

    def show(self, figures: Figures, sent: int) -> None:
        """Show one moment."""


class Lines:
    """A line to standard error every so often, the first at once."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._shown_at = float("-inf")

    def show(self, figures: Figures, sent: int) -> None:
        """Show one moment, unless the last line is fresh."""
        now = time.monotonic()
        if now - self._shown_at >= LINE_SECONDS:
            self._shown_at = now
            seconds = now - self._begin
            sys.stderr.write(f"demo: {seconds:5.1f} s  {_sentence(figures, sent)}\n")


class Bar:
    """A bar over the transactions that have found their place."""

    def __init__(self, transactions: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._transactions = transactions
        self.progress = Progress(
            SpinnerColumn(),
            TimeElapsedColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._task = self.progress.add_task("starting", total=transactions)

    def show(self, figures: Figures, sent: int) -> None:
        """Show one moment."""
        placed = figures.accepted - figures.pending + figures.rejected
        self.progress.update(
            self._task,
            total=max(sent, self._transactions),
            completed=placed,
            description=_sentence(figures, sent),
        )


@contextmanager
def display(transactions: int) -> Iterator[Display]:
    """Choose by what standard error is."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bar = Bar(transactions)
    with bar.progress:
        yield bar


def _sentence(figures: Figures, sent: int) -> str:
    return (
        f"{sent:,} sent, {figures.accepted:,} accepted, {figures.matched:,} matched, "
        f"{figures.pending:,} pending, {figures.exceptions:,} exceptions, "
        f"{figures.rejected:,} refused"
    )
