"""What a person sees of a run on a terminal; the kernel's reports come through a file."""

import io
import json
import sys

import pytest
from rich.console import Console

from lib.pipeline.display import RunDisplay, watch
from lib.progress import PROGRESS_FILE, Progress, report_progress
from lib.settings import Settings

STAGES = ["01_synthesis", "02_tuning"]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def display(tmp_path, clock):
    return RunDisplay(tmp_path, STAGES, clock)


def shown(display):
    output = io.StringIO()
    Console(file=output, width=120, color_system=None).print(display.render())
    return output.getvalue()


def test_display_shows_stage_and_cell(display, clock):
    assert "looking for what is done" in shown(display)
    display.start_cell("02_tuning", 0, 0)
    assert "its kernel starts" in shown(display)
    display.start_cell("02_tuning", 4, 29)
    clock.now = 65
    text = shown(display)
    assert "02_tuning  stage 2 of 2 · 1:05" in text
    assert "cell 4 of 29" in text


def test_display_shows_trials_with_the_best_loss_and_the_time_left(display, clock, tmp_path):
    display.start_cell("02_tuning", 14, 29)
    report_progress(tmp_path, Progress("trials", 1, 15, loss=0.5, detail="batch 50 of 150"))
    assert "1 of 15 trials · best loss 0.5000 · batch 50 of 150" in shown(display)
    report_progress(tmp_path, Progress("trials", 3, 15, loss=0.41))
    clock.now = 20
    assert "3 of 15 trials · best loss 0.4100 · about 2:00 left" in shown(display)
    clock.now = 25  # nothing new: the time left goes down
    assert "about 1:55 left" in shown(display)


def test_display_forgets_what_an_earlier_cell_reported(display, tmp_path):
    display.start_cell("02_tuning", 14, 29)
    report_progress(tmp_path, Progress("batches", 10, 40))
    assert "10 of 40 batches" in shown(display)
    display.start_cell("02_tuning", 15, 29)
    text = shown(display)
    assert "batches" not in text
    assert "cell 15 of 29" in text


@pytest.mark.parametrize(("log_format", "stream"), [("json", Terminal), ("auto", io.StringIO)])
def test_watch_shows_nothing_where_no_person_looks(tmp_path, monkeypatch, log_format, stream):
    err = stream()
    monkeypatch.setattr(sys, "stderr", err)
    with watch(tmp_path, STAGES, Settings(var_dir=tmp_path, log_format=log_format)) as on_cell:
        assert on_cell is None
        assert not (tmp_path / PROGRESS_FILE).exists()
    assert err.getvalue() == ""


def test_watch_on_a_terminal_draws_and_cleans_up(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    with watch(tmp_path, STAGES, Settings(var_dir=tmp_path)) as on_cell:
        assert on_cell is not None
        on_cell("02_tuning", 3, 29)
        assert json.loads((tmp_path / PROGRESS_FILE).read_text()) == {}
        sys.stderr.write("a line of the log\n")
    assert sys.stderr is err
    assert "02_tuning" in err.getvalue()
    assert "a line of the log" in err.getvalue()
    assert not (tmp_path / PROGRESS_FILE).exists()
