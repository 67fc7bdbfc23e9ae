"""The page of a backtest: what a reader sees before the notebook."""

from lib.pipeline.backtest_report import MAX_LEFT_OUT, add_summary

PAGE = '<html><head></head><body class="jp-Notebook"><main>cells</main></body></html>'
SCORES = {
    "ours": {"mase": 0.7, "wape": 9.0, "wql": 7.0, "coverage_80": 79.0},
    "naive": {"mase": 1.2, "wape": 15.0, "wql": None, "coverage_80": None},
}


def summary(left_out=()):
    return add_summary(
        PAGE,
        title="Backtest of a <b>.csv",
        scores=SCORES,
        verdict="Better than the best simple forecast: MASE 0.7.",
        left_out=left_out,
    )


def test_summary_stands_before_the_notebook():
    page = summary()
    head, _, tail = page.partition("<main>")
    assert head.startswith('<html><head></head><body class="jp-Notebook">')
    assert tail == "cells</main></body></html>"
    assert "Backtest of a &lt;b&gt;.csv" in head
    assert "<strong>Better than the best simple forecast: MASE 0.7.</strong>" in head
    assert "<strong>0.700</strong>" in head
    assert ">1.20</td>" in head
    assert ">–</td>" in head
    assert "Not scored in full" not in head


def test_summary_lists_what_is_left_out_by_name():
    left_out = [{"series_id": f"<s{i}>", "reason": "ended"} for i in range(MAX_LEFT_OUT + 2)]
    page = summary(left_out)
    assert "<li>&lt;s0&gt;: ended</li>" in page
    assert "and 2 more, in verdict.json" in page
