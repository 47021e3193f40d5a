"""A chart as the theme draws it, and as a table."""

import json
from dataclasses import replace

import pytest

from dualchannel_site.desk.dashboard.charts import Chart, ChartRow, Series

CHART = Chart(
    key="ages",
    title="Ages",
    kind="bar",
    labels=["new", "<old>"],
    series=[Series("unused", [1200, None], "memory"), Series("used", [0, 3.5], "quiet")],
    about="age",
    summary="Two ages.",
    links=["/new/", "/old/"],
)


def test_the_data_are_what_chart_js_takes() -> None:
    data = json.loads(CHART.data)
    assert data["labels"] == ["new", "<old>"]
    assert [(each["label"], each["data"]) for each in data["datasets"]] == [
        ("unused", [1200, None]),
        ("used", [0, 3.5]),
    ]
    assert all(each["grouped"] and each["displayYAxis"] for each in data["datasets"])


def test_bars_stand_beside_each_other_and_lines_bridge_what_is_missing() -> None:
    assert "spanGaps" not in json.loads(CHART.data)["datasets"][0]
    line = json.loads(replace(CHART, kind="line").data)["datasets"][0]
    assert line["spanGaps"] is True
    assert "grouped" not in line


def test_a_line_of_few_points_shows_each_and_one_of_many_does_not() -> None:
    few = replace(CHART, kind="line")
    many = replace(few, labels=["x"] * 41, series=[Series("unused", [1.0] * 41, "memory")], links=())
    assert json.loads(few.data)["datasets"][0]["pointStyle"] == "circle"
    assert "pointStyle" not in json.loads(many.data)["datasets"][0]


def test_the_table_has_every_value_in_words_with_the_list_behind_its_label() -> None:
    assert CHART.rows == [ChartRow("new", "/new/", ("1,200", "0")), ChartRow("<old>", "/old/", ("-", "4"))]


def test_the_table_says_the_unit() -> None:
    chart = replace(CHART, unit=" %", form="{:.1f}", links=())
    assert chart.rows[1] == ChartRow("<old>", "", ("-", "3.5 %"))
    assert {each["suffixYAxis"] for each in json.loads(chart.data)["datasets"]} == {"%"}


def test_links_that_are_not_one_for_each_label_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        _ = replace(CHART, links=["/new/"]).rows


def test_a_chart_without_any_value_is_empty() -> None:
    assert not CHART.is_empty
    assert replace(CHART, series=[Series("unused", [None, None], "memory")]).is_empty
    assert replace(CHART, labels=[], series=[Series("unused", [], "memory")], links=()).is_empty


def test_what_is_no_number_is_refused_rather_than_sent_to_a_parser_that_does_not_know_it() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = replace(CHART, series=[Series("unused", [float("nan"), 1.0], "memory")]).data
