"""The table of a run: golden text."""

import pytest

from evaluation.report import Column, Row, table

ROWS = [
    Row("random initialisation", {"text_to_image_r1": 0.0025, "seconds": 12.34}),
    Row("CLIP", {"text_to_image_r1": [0.44, 0.45, 0.46], "seconds": [300.0, 310.0, 320.0]}),
    Row("classic", {"text_to_image_r1": float("nan")}),
]
COLUMNS = ["text_to_image_r1", Column("seconds", "time in s", percent=False)]


def test_text():
    assert table(ROWS, COLUMNS).splitlines() == [
        "                          text to",
        "                         image r1   time in s",
        "---------------------------------------------",
        "random initialisation         0.2        12.3",
        "CLIP                   45.0 ± 1.0  310 ± 10.0",
        "classic                       nan           –",
        "shares in percent, mean ± sample standard deviation over 3 seeds",
    ]


def test_markdown():
    assert table([*ROWS, Row("a|b")], COLUMNS, markdown=True).splitlines() == [
        "|  | text to image r1 | time in s |",
        "|---|---:|---:|",
        "| random initialisation | 0.2 | 12.3 |",
        "| CLIP | 45.0 ± 1.0 | 310 ± 10.0 |",
        "| classic | nan | – |",
        "| a\\|b | – | – |",
        "",
        "shares in percent, mean ± sample standard deviation over 3 seeds",
    ]


def test_the_deviation_is_that_of_a_sample():
    assert "50.0 ± 14.1" in table([Row("two", {"a": [0.4, 0.6]})], ["a"])  # 10.0 would be the population's


def test_unequal_numbers_of_seeds_stand_in_the_cells():
    rows = [Row("two", {"a": [0.4, 0.6]}), Row("three", {"a": [0.4, 0.5, 0.6]}), Row("one", {"a": [0.3]})]
    text = table(rows, ["a"])
    assert "50.0 ± 14.1 (n=2)" in text
    assert "50.0 ± 10.0 (n=3)" in text
    assert text.splitlines()[4].split() == ["one", "30.0"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.00"), (0.01234, "0.0123"), (-1.5, "-1.50"), (12345.6, "12,346"), (2e-7, "2.00e-07")],
)
def test_plain_numbers_keep_three_digits(value, shown):
    assert table([Row("a", {"x": value})], [Column("x", percent=False)]).split()[-1] == shown


def test_long_names_wrap_to_a_terminal_of_100_columns():
    rows = [Row("a method " * 20, {key: [0.1, 0.2] for key in "abcde"})]
    lines = table(rows, list("abcde")).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("method" in line for line in lines) > 1


def test_nothing_measured_is_no_error():
    assert table([], ["a"])
    assert "–" in table([Row("a")], ["b"])
