"""The check of coverage by layer can fail, and says where."""

from tests.layers import REQUIRED, Counted, read, report, stretches

ALL = [Counted(f"{layer}/module.py", 200, 0) for layer in REQUIRED]


def without(layer: str) -> list[Counted]:
    return [file for file in ALL if not file.name.startswith(layer)]


def test_layers_that_reach_what_they_have_to_hold():
    text, holds = report(ALL)
    assert holds
    assert "falls short" not in text
    text, holds = report([*without("api"), Counted("api/a.py", 100, 15)])
    assert holds, text


def test_a_layer_below_its_own_limit_fails_and_names_its_files():
    short = [Counted("api/good.py", 90, 0), Counted("api/bad.py", 100, 3, (7, 9, 10))]
    short.append(Counted("api/many.py", 100, 60, tuple(range(1, 120, 2))))
    text, holds = report([*without("api"), *short])
    assert not holds
    assert "3 missing in api/bad.py: 7, 9-10" in text
    assert text.index("api/many.py") < text.index("api/bad.py")
    assert "api/good.py" not in text
    assert text.count("falls short") == 1
    text, holds = report([*without("domain"), Counted("domain/a.py", 10_000, 1)])
    assert not holds


def test_a_layer_that_was_not_measured_fails():
    text, holds = report(without("flows"))
    assert not holds
    assert "falls short" in text


def test_counts_come_from_the_report_of_coverage():
    summary = {"num_statements": 8, "missing_lines": 2, "covered_lines": 6}
    measured = {"files": {"api/a.py": {"summary": summary, "missing_lines": [3, 4]}}}
    assert read(measured) == [Counted("api/a.py", 8, 2, (3, 4))]


def test_lines_are_named_by_stretches_and_not_without_end():
    assert stretches([]) == ""
    assert stretches([3, 4, 5, 9]) == "3-5, 9"
    assert stretches(range(1, 80, 2)).endswith("17, 19, …")
