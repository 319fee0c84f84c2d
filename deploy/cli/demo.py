"""`settler demo`: everything on this machine, on generated data, judged against its truth."""

import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.console import DOES_NOT_HOLD, OK, Json, load_settings, print_json, say

if TYPE_CHECKING:
    from types import FrameType

    from deploy.demo.product import Product
    from deploy.demo.run import Outcome

DIFFERENCES_SHOWN = 10
CHECK_SECONDS = 0.5
COLUMNS = ("accepted", "matches", "suggestions", "open exceptions")


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="End by itself; exit 0 only if exact.")
    ] = False,
    transactions: Annotated[int, typer.Option(min=300, help="At least this many.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Another seed, other transactions.")] = 1,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the dashboard; 0 takes a free one.")
    ] = 0,
    corrupt_truth: Annotated[bool, typer.Option("--corrupt-truth", hidden=True)] = False,
    as_json: Json = False,
) -> None:
    """Start everything, stream transactions with seeded errors, compare with the known truth.

    At the end `settler verify` proves the rest: no record lost or doubled, and all sums tie out.

    Postgres, the Kafka broker and Valkey run embedded, in a temporary folder that is gone
    afterwards. Without --headless the dashboard stays up until Ctrl-C.

    Example: settler demo --headless
    """
    from connectors.synthetic.definitions import DEFAULT_STREAMS
    from deploy.cli.verify import say_words
    from deploy.demo.product import Product
    from deploy.demo.run import report, run_demo

    load_settings()
    tenant_ids = sorted({spec.tenant_id for spec in DEFAULT_STREAMS})
    product = Product(tenant_ids, port, lambda text: say(f"demo: {text}"))
    outcome: Outcome | None = None
    signals = Signals()
    try:
        with product.running():
            try:
                say(f"demo: sending {transactions:,} transactions")
                outcome = run_demo(product, transactions, seed, corrupt_truth=corrupt_truth)
                if as_json:
                    print_json(report(outcome))
                else:
                    _print_outcome(outcome)
                say_words(outcome.verified)
                if not headless:
                    _keep_dashboard(product)
            finally:
                signals.ignore()  # what was started is ended in peace
    except Interrupted as exc:
        if outcome is None:
            say("demo: ended before there was a result")
            raise typer.Exit(128 + exc.signal_number) from None
    raise typer.Exit(OK if outcome.exact and outcome.proven else DOES_NOT_HOLD)


def register(app: typer.Typer) -> None:
    """Add the command to the `settler` command."""
    app.command()(demo)


class Interrupted(BaseException):
    """A signal asked the demo to end; no error, so that nothing on the way swallows it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class Signals:
    """Turns the first SIGTERM or Ctrl-C into `Interrupted`; those after it change nothing."""

    def __init__(self) -> None:
        self._heeded = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._heed)

    def ignore(self) -> None:
        """Raise nothing from now on."""
        self._heeded = False

    def _heed(self, number: int, _frame: "FrameType | None") -> None:
        if self._heeded:
            self._heeded = False
            raise Interrupted(number)


def _keep_dashboard(product: "Product") -> None:
    """Say where the dashboard is and wait for a signal."""
    say(f"\ndemo: the dashboard is at {product.url}/")
    say(f"demo: the pages of the API are at {product.url}/api/v1/docs")
    for tenant_id, key in product.keys.items():
        say(f"demo: API key of tenant {tenant_id}: {key}")
    say("demo: Ctrl-C ends everything")
    while True:
        product.check()
        time.sleep(CHECK_SECONDS)


def _print_outcome(outcome: "Outcome") -> None:
    """Print found and expected side by side, and the first differences."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *COLUMNS, box=None, header_style="bold", pad_edge=False)
    for line in outcome.lines:
        table.add_row(line.reconciliation, *map(_shown, line.found, line.expected))
    table.add_row("refused records", _shown(*outcome.dead_letters))
    Console().print(table, markup=False)
    if outcome.decided:
        rate = outcome.sent / outcome.seconds
        print(
            f"{outcome.sent:,} transactions, all decided and readable after "
            f"{outcome.seconds:.1f} s ({rate:,.0f}/s, waiting for silence included)"
        )
    else:
        print(
            f"{outcome.sent:,} transactions, NOT all decided and readable within "
            f"{outcome.seconds:.0f} s"
        )
    if outcome.exact:
        print("exact: the result is the generator's truth, record for record")
        return
    print(f"NOT exact: {len(outcome.differences):,} differences from the generator's truth")
    for difference in outcome.differences[:DIFFERENCES_SHOWN]:
        print(f"  {difference}")


def _shown(found: int, expected: int) -> str:
    return f"{found:,}" if found == expected else f"{found:,} (should be {expected:,})"
