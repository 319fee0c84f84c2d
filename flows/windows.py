"""The matching windows: one per reconciliation, its state a fold of what is committed.

A window is a thin shell: it takes hold of its stream when the first input comes, leaves every
decision to `domain.reconciliation`, and words what was decided as a commit. Bytewax keeps no state
of ours (see docs/decisions): a window that starts again reads its stream.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import structlog
from bytewax.operators import StatefulBatchLogic
from opentelemetry import trace
from prometheus_client import Counter, Gauge
from typing_extensions import override

from connectors.fingerprints import SortedIndex
from connectors.postgres.inbox import Command
from connectors.postgres.records import CommandOutcome, DeadLetter, StreamCommit
from connectors.telemetry import context_from_metadata, trace_metadata
from domain.commands import CannotBeDone
from domain.decision import Decision
from domain.definition_parsing import parse_definition
from domain.errors import DefinitionInvalid
from domain.freezing.touching import by_chunk, by_definition, by_tick
from domain.identity import stream_id
from domain.reconciliation import Chunk, Reconciliation, Tick
from domain.transactions import Rejection
from flows.arrivals import UNKEYED, Arrivals, from_offset
from flows.commanding import (
    decide_command,
    metadata_of,
    refuse,
    refused,
    touched_by,
    unknown_reconciliation,
)
from flows.freezing import freeze_excess, thaw_before
from flows.snapshotting import WindowSnapshots
from flows.storing import Outgoing
from flows.surroundings import Surroundings, rebuild

log = structlog.get_logger(__name__)
tracer = trace.get_tracer("settler.flow")

RECORDS = Counter("settler_flow_records_total", "Records taken in, by outcome", ["outcome"])
EVENT_TIME_DELAY = Gauge(
    "settler_flow_event_time_delay_seconds",
    "How far event time is behind the clock",
    ["tenant_id", "reconciliation_id"],
)
OPEN = Gauge(
    "settler_flow_known_transactions",
    "Transactions open or remembered",
    ["tenant_id", "reconciliation_id"],
)


class TickItem(msgspec.Struct, gc=False):
    """The clock, for a reconciliation that asked to be woken."""

    stream_id: str
    now_us: int


class MatchWindow(StatefulBatchLogic[Any, Outgoing, None]):
    """The window of one key. Items in: `Arrivals`, `Command`, `TickItem`; out: what to store."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._stream_id = UNKEYED
        self._around = surroundings
        self._state: Reconciliation | None = None
        self._fence = 0
        self._next_offset: dict[str, int] = {}
        self._snapshots = WindowSnapshots(surroundings.snapshot_pace)

    @override
    def on_batch(self, values: list[Any]) -> tuple[Iterable[Outgoing], bool]:
        out: list[Outgoing] = []
        for value in values:
            if isinstance(value, Arrivals):
                self._stream_id = value.stream_id
                self._arrive(value, out)
            elif isinstance(value, Command):
                self._stream_id = stream_id(value.tenant_id, value.reconciliation_id)
                self._command(value, out)
            else:
                assert isinstance(value, TickItem), value
                self._stream_id = value.stream_id
                self._tick(value, out)
        self._plan_waking(out)
        return out, self._state is None

    def _plan_waking(self, out: list[Outgoing]) -> None:
        """Say when the stream is to be woken, once for all that was decided together.

        Looking that up costs as much as a tenth of what a chunk does. The commits before the last
        say "now" (see `_commit`), which is never too late should they be stored without it.
        """
        for commit in reversed(out):
            if isinstance(commit, StreamCommit) and commit.stream_id:
                assert self._state is not None, commit.stream_id
                assert commit.wake_at_us is not None, commit.stream_id
                commit.wake_at_us = self._state.wake_us(commit.wake_at_us)
                return

    @override
    def snapshot(self) -> None:
        return None

    # -- taking hold --

    def _hold(self, *, create: tuple[str, str] | None = None) -> Reconciliation | None:
        """The state, claimed and folded at first need; None when nothing is defined."""
        if self._state is not None:
            return self._state
        if create is None and self._around.is_unknown(self._stream_id):
            return None
        tenant_id, _, reconciliation_id = self._stream_id.partition("/")
        claim = self._around.store.claim(
            self._stream_id, tenant_id, reconciliation_id, create=create is not None
        )
        if claim is None:
            self._around.note_unknown(self._stream_id)
            return None
        self._fence = claim.fence
        self._next_offset = dict(claim.next_offset)
        self._state, folded = rebuild(claim, self._around)
        if self._state is not None:
            self._around.note_known(self._stream_id)
            self._snapshots.found(self._state, folded)
            log.info(
                "window.opened",
                stream_id=self._stream_id,
                version=claim.version,
                fence=claim.fence,
                batches_folded=len(claim.batches),
                transactions_folded=folded,
            )
        return self._state

    # -- records --

    def _arrive(self, arrivals: Arrivals, out: list[Outgoing]) -> None:
        if self._stream_id == UNKEYED:
            out += [_letter(arrivals, rejection) for rejection in arrivals.rejections]
            RECORDS.labels("rejected").inc(len(arrivals.rejections))
            if arrivals.redriven:
                commit = _no_stream()
                commit.redriven = arrivals.redriven
                out.append(commit)
            return
        state = self._hold()
        if state is None:
            out += self._unknown_reconciliation(arrivals)
            return
        place = f"{arrivals.topic}/{arrivals.partition}"
        seen = -1 if arrivals.redriven else self._next_offset.get(place, -1)
        if not arrivals.redriven:
            if arrivals.next_offset <= seen:
                return
            if arrivals.first_offset < seen:
                arrivals = from_offset(arrivals, seen)
        now_us, caught_up = self._around.clock_us(), self._around.caught_up()
        offsets = (
            {} if arrivals.redriven else {place: (arrivals.first_offset, arrivals.next_offset)}
        )
        chunk = Chunk(
            arrivals.transactions,
            arrivals.raws,
            offsets,
            len(arrivals.rejections),
            now_us,
            caught_up,
        )
        thaw_before(state, by_chunk, chunk, self._around.blocks)
        base = state.version
        decision = state.advance(chunk)
        if not arrivals.redriven:
            self._next_offset[place] = arrivals.next_offset
        commit = self._commit(state, base, decision, now_us)
        commit.next_offset = {} if arrivals.redriven else {place: arrivals.next_offset}
        commit.metadata = self._trace(arrivals, place, now_us)
        commit.rejections = [
            _letter(arrivals, rejection)
            for rejection in (*arrivals.rejections, *decision.rejections)
        ]
        commit.redriven = arrivals.redriven
        out.append(commit)
        RECORDS.labels("accepted").inc(len(decision.journal))
        RECORDS.labels("rejected").inc(len(commit.rejections))
        self._observe(state, now_us)
        self._snapshots.pending += len(decision.journal)
        blocks = self._around.blocks
        freeze_excess(state, self._fence, self._around.hot, blocks)
        taken = self._snapshots.take(state, self._fence, writing_blocks=blocks.are_being_written)
        if taken is not None:
            blocks.wait_until_written()
            out.append(taken)

    def _unknown_reconciliation(self, arrivals: Arrivals) -> list[Outgoing]:
        if arrivals.redriven:
            return []  # the letter stays until there is a definition
        letters = [_letter(arrivals, rejection) for rejection in arrivals.rejections]
        for transaction, raw in zip(arrivals.transactions, arrivals.raws, strict=True):
            letters.append(
                _letter(
                    arrivals,
                    Rejection(
                        "unknown_reconciliation",
                        f"tenant {transaction.tenant_id} has no reconciliation "
                        f"{transaction.reconciliation_id}; it is taken up by itself once that is "
                        "defined",
                        transaction.tenant_id,
                        transaction.reconciliation_id,
                        transaction.transaction_id,
                        transaction.side,
                        raw,
                        transaction.offset,
                    ),
                )
            )
        RECORDS.labels("rejected").inc(len(letters))
        return list(letters)

    # -- commands and time --

    def _command(self, command: Command, out: list[Outgoing]) -> None:
        if command.command_type == "define":
            self._define(command, out)
            return
        state = self._hold()
        if state is None:
            commit = _no_stream()
            commit.command_outcomes = [refused(command, unknown_reconciliation(command))]
            out.append(commit)
            return
        if command.command_id in state.commands:
            return  # decided before, and its outcome with it
        thaw_before(state, touched_by, command, self._around.blocks)
        base = state.version
        decision, outcome = decide_command(state, command)
        out.append(self._commanded(state, base, decision, command, outcome))

    def _define(self, command: Command, out: list[Outgoing]) -> None:
        try:
            definition = parse_definition(
                command.payload["definition"], command.tenant_id, command.reconciliation_id
            )
        except DefinitionInvalid as exc:
            self._refuse_definition(command, exc, out)
            return
        state = self._hold(create=(command.tenant_id, command.reconciliation_id))
        if state is None:
            state = self._state = Reconciliation(definition)
            state.frozen.index = SortedIndex()
            self._around.note_known(self._stream_id)
        thaw_before(state, by_definition, definition, self._around.blocks)
        base = state.version
        decision = state.define(definition, command.command_id)
        outcome = CommandOutcome(
            command.command_id,
            "done",
            {
                "stream_id": self._stream_id,
                "definition_version": state.definition_version,
                "stream_version": state.version,
            },
        )
        out.append(self._commanded(state, base, decision, command, outcome))

    def _refuse_definition(
        self, command: Command, problem: DefinitionInvalid, out: list[Outgoing]
    ) -> None:
        details = [{"path": one.path, "message": one.message} for one in problem.problems]
        refusal = CannotBeDone("definition.invalid", str(problem))
        state = self._hold()
        if state is None:
            commit = _no_stream()
            commit.command_outcomes = [refused(command, refusal, {"details": details})]
        elif command.command_id in state.commands:
            return
        else:
            base = state.version
            decision, outcome = refuse(state, command, refusal)
            outcome.outcome["details"] = details
            commit = self._commanded(state, base, decision, command, outcome)
        out.append(commit)

    def _commanded(
        self,
        state: Reconciliation,
        base: int,
        decision: Decision,
        command: Command,
        outcome: CommandOutcome,
    ) -> StreamCommit:
        commit = self._commit(state, base, decision, self._around.clock_us())
        commit.metadata = metadata_of(command)
        commit.command_outcomes = [outcome]
        return commit

    def _tick(self, tick: TickItem, out: list[Outgoing]) -> None:
        state = self._hold()
        if state is None:
            return
        caught_up = self._around.caught_up()
        # Silence and the clock count only up to the moment we know to have caught up with: a
        # broker that cannot be asked may hold what ends the silence.
        passed = Tick(tick.now_us - self._around.behind_us(), caught_up)
        thaw_before(state, by_tick, passed, self._around.blocks)
        base = state.version
        decision = state.tick(passed)
        self._observe(state, tick.now_us)
        commit = self._commit(state, base, decision, tick.now_us)
        commit.metadata = {"correlation_id": f"tick@{tick.now_us}"}
        out.append(commit)

    # -- wording --

    def _commit(
        self,
        state: Reconciliation,
        base: int,
        decision: Decision,
        now_us: int,
    ) -> StreamCommit:
        return StreamCommit(
            self._stream_id,
            state.tenant_id,
            state.reconciliation_id,
            base,
            state.version,
            self._fence,
            {},
            now_us,
            state.definition_version,
            decision.told,
            decision.journal,
        )

    def _trace(self, arrivals: Arrivals, place: str, began_us: int) -> dict[str, str]:
        """Correlation by place in Kafka; where a message brought a trace, a span of the matching.

        Args:
            began_us: When the matching began, microseconds since the epoch.
        """
        correlation = {"correlation_id": f"{place}@{arrivals.first_offset}"}
        if arrivals.traceparent is None:
            return correlation
        context = context_from_metadata({"traceparent": arrivals.traceparent})
        with tracer.start_as_current_span(
            "match_window",
            context,
            attributes={"settler.stream_id": self._stream_id},
            start_time=began_us * 1000,
        ):
            return correlation | trace_metadata()

    def _observe(self, state: Reconciliation, now_us: int) -> None:
        labels = (state.tenant_id, state.reconciliation_id)
        if state.watermark_us is not None:
            EVENT_TIME_DELAY.labels(*labels).set((now_us - state.watermark_us) / 1e6)
        OPEN.labels(*labels).set(state.known_count)


def _no_stream() -> StreamCommit:
    """A commit that touches no stream, for what else has to be stored."""
    return StreamCommit("", "", "", 0, 0, 0, {}, None, 0)


def _letter(arrivals: Arrivals, rejection: Rejection) -> DeadLetter:
    return DeadLetter(
        arrivals.topic,
        arrivals.partition,
        rejection.offset,
        rejection.tenant_id,
        rejection.reconciliation_id,
        rejection.transaction_id,
        rejection.side,
        rejection.raw,
        rejection.code,
        rejection.message,
    )
