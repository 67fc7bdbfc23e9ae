"""Progress goes through a file, and only where a runner watches."""

from lib.progress import (
    PROGRESS_FILE,
    Progress,
    close_progress,
    open_progress,
    read_progress,
    report_progress,
)


def test_progress_is_read_as_it_was_reported(tmp_path):
    open_progress(tmp_path)
    assert read_progress(tmp_path) is None
    progress = Progress("trials", 3, 15, loss=0.4, detail="batch 50 of 150")
    report_progress(tmp_path, progress)
    assert read_progress(tmp_path) == progress


def test_progress_is_not_written_where_nobody_watches(tmp_path):
    report_progress(tmp_path, Progress("trials", 1, 2))
    open_progress(tmp_path)
    close_progress(tmp_path)
    report_progress(tmp_path, Progress("trials", 1, 2))
    close_progress(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert read_progress(tmp_path) is None


def test_progress_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / PROGRESS_FILE).write_text("{")
    assert read_progress(tmp_path) is None
