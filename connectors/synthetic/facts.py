"""What a reconciliation should have found, or did find: one form for both, and their comparison."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import msgspec

from domain.transactions import SIDE_NAMES

FactKind = TypeVar("FactKind", bound=msgspec.Struct)


class MatchFact(msgspec.Struct, frozen=True, gc=False):
    """A match or suggestion by its members; ids in string order."""

    stream_id: str
    rule: str
    status: str
    source_ids: tuple[str, ...]
    target_ids: tuple[str, ...]


class ExceptionFact(msgspec.Struct, frozen=True, gc=False):
    """An exception that is open in the end."""

    stream_id: str
    side: str
    transaction_id: str
    category: str


class DeadLetterFact(msgspec.Struct, frozen=True, gc=False):
    """A refused record: `digest` names its bytes, `transaction_id` is None where unreadable."""

    stream_id: str
    side: str
    code: str
    transaction_id: str | None
    digest: str | None


class AcceptedFact(msgspec.Struct, frozen=True, gc=False):
    """Count and sum (minor units) of the accepted transactions of one side and currency."""

    stream_id: str
    side: str
    currency: str
    count: int
    sum_minor: int


class RedeliveredFact(msgspec.Struct, frozen=True, gc=False):
    """How many records were second deliveries of known content."""

    stream_id: str
    count: int


@dataclass(slots=True)
class Facts:
    """All facts of one workload, or of one engine's run over it."""

    matches: list[MatchFact] = field(default_factory=list)
    exceptions: list[ExceptionFact] = field(default_factory=list)
    dead_letters: list[DeadLetterFact] = field(default_factory=list)
    accepted: dict[tuple[str, int, str], list[int]] = field(default_factory=dict)
    redelivered: Counter[str] = field(default_factory=Counter)

    def accept(self, stream_id: str, side: int, currency: str, amount_minor: int) -> None:
        """Count one accepted transaction."""
        try:
            tally = self.accepted[stream_id, side, currency]
        except KeyError:
            tally = self.accepted[stream_id, side, currency] = [0, 0]
        tally[0] += 1
        tally[1] += amount_minor

    def accepted_facts(self) -> list[AcceptedFact]:
        """The counts and sums in the order of stream, side and currency."""
        return [
            AcceptedFact(stream, SIDE_NAMES[side], currency, count, total)
            for (stream, side, currency), (count, total) in sorted(self.accepted.items())
        ]

    def of_stream(self, stream_id: str) -> "Facts":
        """The part of the facts that belongs to one reconciliation."""
        return Facts(
            [fact for fact in self.matches if fact.stream_id == stream_id],
            [fact for fact in self.exceptions if fact.stream_id == stream_id],
            [fact for fact in self.dead_letters if fact.stream_id == stream_id],
            {key: tally for key, tally in self.accepted.items() if key[0] == stream_id},
            Counter({stream_id: self.redelivered[stream_id]}),
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that was expected and not found (`missing`) or found and not expected."""

    kind: str
    what: str
    fact: msgspec.Struct
    count: int

    def __str__(self) -> str:
        times = "" if self.count == 1 else f" ({self.count} times)"
        return f"{self.what} {self.kind}{times}: {msgspec.json.encode(self.fact).decode()}"


def digest(raw: bytes) -> str:
    """A short name for the bytes of a refused record."""
    return blake2b(raw, digest_size=12).hexdigest()


def compare(truth: Facts, actual: Facts, *, accepted: bool = True) -> list[Difference]:
    """List every fact that only one of the two knows; empty means equal, record for record.

    Dead letters are paired by the digest of their bytes; where the actual side has no digest
    (a file reader's rows), by transaction id instead.  The owning stream of a dead letter is not
    compared: a record without a readable tenant has none.

    Args:
        truth: What was generated.
        actual: What an engine made of it.
        accepted: Also compare counts, sums and redeliveries.
    """
    by_digest = all(fact.digest is not None for fact in actual.dead_letters)
    pairs: list[tuple[str, Iterable[msgspec.Struct], Iterable[msgspec.Struct]]] = [
        ("match", truth.matches, actual.matches),
        ("exception", truth.exceptions, actual.exceptions),
        (
            "dead letter",
            _comparable(truth.dead_letters, by_digest),
            _comparable(actual.dead_letters, by_digest),
        ),
    ]
    if accepted:
        pairs.append(("accepted", truth.accepted_facts(), actual.accepted_facts()))
        pairs.append(("redelivered", _redelivered(truth), _redelivered(actual)))
    return [
        difference
        for kind, expected, found in pairs
        for difference in _differences(kind, Counter(expected), Counter(found))
    ]


def _differences(
    kind: str, expected: Counter[msgspec.Struct], found: Counter[msgspec.Struct]
) -> Iterator[Difference]:
    for fact, count in (expected - found).items():
        yield Difference(kind, "missing", fact, count)
    for fact, count in (found - expected).items():
        yield Difference(kind, "unexpected", fact, count)


def _comparable(facts: Iterable[DeadLetterFact], by_digest: bool) -> Iterator[DeadLetterFact]:
    for fact in facts:
        yield DeadLetterFact(
            "",
            fact.side,
            fact.code,
            None if by_digest else fact.transaction_id,
            fact.digest if by_digest else None,
        )


def _redelivered(facts: Facts) -> list[RedeliveredFact]:
    return [RedeliveredFact(stream, n) for stream, n in sorted(facts.redelivered.items()) if n]


def write_facts(directory: Path, facts: Facts) -> None:
    """Write one JSONL file for each kind of fact into `directory`, which is made when absent."""
    directory.mkdir(parents=True, exist_ok=True)
    tables: dict[str, Iterable[msgspec.Struct]] = {
        "matches": facts.matches,
        "exceptions": facts.exceptions,
        "dead_letters": facts.dead_letters,
        "accepted": facts.accepted_facts(),
        "redelivered": _redelivered(facts),
    }
    encoder = msgspec.json.Encoder()
    for name, rows in tables.items():
        (directory / f"{name}.jsonl").write_bytes(encoder.encode_lines(list(rows)))


def read_facts(directory: Path) -> Facts:
    """Read what `write_facts` wrote.

    Raises:
        FileNotFoundError: One of the five files is not there.
        msgspec.ValidationError: A line is not a fact of its file's kind.
    """
    facts = Facts(
        _read(directory / "matches.jsonl", MatchFact),
        _read(directory / "exceptions.jsonl", ExceptionFact),
        _read(directory / "dead_letters.jsonl", DeadLetterFact),
    )
    for row in _read(directory / "accepted.jsonl", AcceptedFact):
        key = (row.stream_id, SIDE_NAMES.index(row.side), row.currency)
        facts.accepted[key] = [row.count, row.sum_minor]
    for line in _read(directory / "redelivered.jsonl", RedeliveredFact):
        facts.redelivered[line.stream_id] = line.count
    return facts


def _read(path: Path, kind: type[FactKind]) -> list[FactKind]:
    return msgspec.json.Decoder(kind).decode_lines(path.read_bytes())
