"""Dead letters as operators and the publisher see them."""

from connectors.postgres.dead_letters import (
    get_dead_letter,
    list_dead_letters,
    mark_published,
    read_unpublished,
    request_redrive_of_code,
)
from connectors.postgres.writing import commit_flush
from tests.integration.postgres.commits import letter


def test_they_are_listed_newest_first_in_pages(flow, connect_as):
    for offset in range(7):
        tenant = "globex" if offset % 2 else "acme"
        commit_flush(flow, [], [letter(offset, tenant_id=tenant)])
    operator = connect_as("operator")
    pages, after = [], None
    while page := list_dead_letters(operator, 3, after=after):
        pages.append([one.offset for one in page])
        after = page[-1].dead_letter_id
    assert pages == [[6, 5, 4], [3, 2, 1], [0]]
    assert [one.offset for one in list_dead_letters(operator, 9, tenant_id="globex")] == [5, 3, 1]
    assert list_dead_letters(operator, 9, code="too_old") == []
    one = list_dead_letters(operator, 1)[0]
    assert get_dead_letter(operator, one.dead_letter_id) == one
    assert one.letter() == letter(6)
    assert request_redrive_of_code(operator, "invalid_json", "acme") == 4
    assert request_redrive_of_code(operator, "invalid_json") == 7


def test_a_letter_with_a_new_reason_is_published_again(flow, connect_as):
    commit_flush(flow, [], [letter(1), letter(2)])
    publisher = connect_as("projections")
    first, second = read_unpublished(publisher, 10)
    commit_flush(flow, [], [letter(2, code="too_old")])
    mark_published(publisher, [first, second])  # what was sent of the second is no longer so
    assert [(one.offset, one.code) for one in read_unpublished(publisher, 10)] == [(2, "too_old")]
