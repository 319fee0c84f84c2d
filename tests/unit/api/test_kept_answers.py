"""Answers in memory: whose they are, until when, and who renders them."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.caching import TTL_SECONDS, AnswerCache
from api.feed import Moved, Movements
from api.kept_answers import ANSWER_BYTES_MAX, KeptAnswers
from api.rate_limits import RateLimits
from api.redis_circuit import RedisCircuit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Rendering:
    """Renders one body again and again, and counts."""

    def __init__(self, body: bytes = b"{}", failures: int = 0) -> None:
        self.body, self.failures, self.times = body, failures, 0

    async def __call__(self) -> bytes:
        self.times += 1
        await asyncio.sleep(0)
        if self.times <= self.failures:
            raise OSError("the database is away")
        return self.body


def keeping(**options) -> KeptAnswers:
    return KeptAnswers(AnswerCache(None), **options)


def test_an_answer_is_its_tenants_its_names_and_its_versions_own():
    async def body():
        kept = keeping()
        await kept.read("acme", "/x?", "7", Rendering(b"acme's"))
        assert kept.recall("acme", "/x?", "7").body == b"acme's"
        assert kept.recall("globex", "/x?", "7") is None
        assert kept.recall("acme", "/x?y", "7") is None
        assert kept.recall("acme", "/x?", "8") is None

    asyncio.run(body())


def test_an_answer_ends_by_itself():
    async def body():
        clock = Clock()
        kept = keeping(clock=clock)
        await kept.read("acme", "/x", "7", Rendering())
        clock.now = TTL_SECONDS
        assert kept.recall("acme", "/x", "7") is None

    asyncio.run(body())


def test_memory_is_bounded_and_the_longest_unasked_goes_first():
    async def body():
        kept = keeping(bytes_max=30)
        for name in "abc":
            await kept.read("acme", name, "7", Rendering(b"0123456789"))
        kept.recall("acme", "a", "7")
        await kept.read("acme", "d", "7", Rendering(b"0123456789"))
        assert [name for name in "abcd" if kept.recall("acme", name, "7")] == ["a", "c", "d"]
        await kept.read("acme", "large", "7", Rendering(b"x" * (ANSWER_BYTES_MAX + 1)))
        assert kept.recall("acme", "large", "7") is None

    asyncio.run(body())


def test_of_many_at_once_one_renders():
    async def body():
        kept, render = keeping(), Rendering()
        answers = await asyncio.gather(*(kept.read("acme", "/x", "7", render) for _ in range(50)))
        assert {answer.body for answer in answers} == {b"{}"}
        assert render.times == 1

    asyncio.run(body())


def test_a_failure_is_the_first_ones_alone():
    async def body():
        kept, render = keeping(), Rendering(failures=1)
        asked = (kept.read("acme", "/x", "7", render) for _ in range(5))
        first, *others = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(first, OSError)
        assert {answer.body for answer in others} == {b"{}"}

    asyncio.run(body())


def test_who_gives_up_leaves_the_others_their_answer():
    async def body():
        kept, never = keeping(), asyncio.Event()

        async def hang() -> bytes:
            await never.wait()
            return b""

        first = asyncio.create_task(kept.read("acme", "/x", "7", hang))
        await asyncio.sleep(0)
        second = asyncio.create_task(kept.read("acme", "/x", "7", Rendering()))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).body == b"{}"

    asyncio.run(body())


TENANT = st.from_regex(r"[a-z0-9_-]{1,6}", fullmatch=True)
ASKED = st.tuples(
    TENANT, st.text("/?:.=&%a1", max_size=8), st.from_regex(r"[0-9.]{1,4}", fullmatch=True)
)


@given(ASKED, ASKED)
def test_no_name_reaches_into_another_tenants_keys(left, right):
    key = AnswerCache(None)._key
    assert (key(*left) == key(*right)) == (left == right)


# What has moved ------------------------------------------------------------------------------


def test_a_movement_is_its_tenants_and_its_reconciliations():
    movements = Movements()
    assert movements.version("acme") is None
    movements.reached(10)
    before = {key: movements.version(*key) for key in THINGS}
    movements.moved(Moved("acme", "orders", 12))
    after = {key: movements.version(*key) for key in THINGS}
    assert [key for key in THINGS if before[key] != after[key]] == [
        ("acme", None), ("acme", "orders"),
    ]  # fmt: skip


THINGS = [
    ("acme", None), ("acme", "orders"), ("acme", "refunds"), ("globex", None), ("globex", "orders"),
]  # fmt: skip


def test_who_has_seen_a_position_is_not_taken_back_by_news_of_earlier_ones():
    movements = Movements()
    movements.reached(10)
    movements.seen(Moved("acme", "orders", 20))
    assert movements.version("globex") == "10"
    assert movements.version("acme", "orders") == movements.version("acme") == "20"
    for position in (12, 20):
        movements.moved(Moved("acme", "orders", position))
        assert movements.version("acme", "orders") == movements.version("acme") == "20"
    movements.moved(Moved("acme", "refunds", 19))
    assert (movements.version("acme", "refunds"), movements.version("acme")) == ("19", "20")
    movements.moved(Moved("acme", "orders", 21))
    assert movements.version("acme", "orders") == movements.version("acme") == "21"


def test_what_one_has_seen_says_nothing_of_others():
    """Without notifications the checkpoint alone tells that others have moved, too."""
    movements = Movements()
    movements.reached(10)
    movements.seen(Moved("acme", "orders", 20))
    assert movements.reached(20)
    assert movements.version("globex") == "20"


@pytest.mark.parametrize("told", [False, True])
def test_a_movement_that_nobody_told_moves_everything(told):
    movements = Movements()
    movements.reached(10)
    if told:
        movements.moved(Moved("acme", "orders", 12))
    before = {key: movements.version(*key) for key in THINGS}
    assert movements.reached(12) is not told
    assert all((movements.version(*key) == before[key]) is told for key in THINGS)


def test_a_movement_without_a_name_moves_everything_though_no_position_did():
    movements = Movements()
    movements.reached(10)
    seen = set()
    for _ in range(3):
        seen.add(movements.version("acme"))
        movements.everything_moved()
    assert len(seen) == 3


def test_nothing_is_known_while_the_feed_is_lost():
    movements = Movements()
    movements.reached(10)
    movements.lost()
    movements.moved(Moved("acme", "orders", 12))
    assert all(movements.version(*key) is None for key in THINGS)
    assert movements.reached(10)
    assert movements.version("acme") == "10"


# Limits --------------------------------------------------------------------------------------


def test_of_many_requests_at_once_as_many_as_the_limit_are_allowed():
    async def body():
        limits = RateLimits(RedisCircuit(None, 0.05), clock=lambda: 1_800_000_000.0)
        standings = await asyncio.gather(*(limits.spend("x", "acme", 7) for _ in range(40)))
        assert sum(standing.is_allowed for standing in standings) == 7

    asyncio.run(body())
