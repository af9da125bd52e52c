"""The directory that a server's workers share: it may be cleaned away, and hold what nobody understands."""

import logging
import shutil

from sayonce.cache.known_purges import Unwritten
from sayonce.cache.workers_directory import WorkersDirectory
from sayonce.observe.recent import Shown
from sayonce.observe.workers import Workers

PURGED = Unwritten({"voice=x": 1}, set())


def two(directory):
    one, other = WorkersDirectory(directory), WorkersDirectory(directory)
    other._name += "-other"
    return one, other


def test_purges_reach_the_other_workers_though_the_directory_was_removed(tmp_path):
    """A cleaner of temporary files removes it after ten days."""
    directory = tmp_path / "shared"
    one, other = two(directory)
    assert list(other.read()) == []
    one.leave(PURGED)
    shutil.rmtree(directory)
    assert list(other.read()) == []
    one.leave(PURGED)
    assert [told.epochs for told in other.read()] == [PURGED.epochs]
    assert directory.stat().st_mode & 0o777 == 0o700


def test_files_in_the_workers_directory_that_no_worker_wrote_are_ignored_and_told_once(tmp_path, caplog):
    one, other = two(tmp_path)
    (tmp_path / ".purges-1").write_bytes(b"\xff\x00garbage")
    (tmp_path / ".purges-2").write_bytes(b"\x81\xa6epochs\xa1x")
    (tmp_path / ".purges-3").mkdir()
    one.leave(PURGED)
    with caplog.at_level(logging.WARNING):
        assert [told.epochs for told in other.read()] == [PURGED.epochs]
        assert list(other.read()) == []
    assert len(caplog.records) == 1


def test_metrics_go_on_where_the_workers_directory_was_removed_or_holds_junk(tmp_path, caplog):
    directory = tmp_path / "shared"
    one, other = Workers(directory), Workers(directory)
    other._name += "-other"
    one.leave({}, Shown())
    shutil.rmtree(directory)
    assert other.sum({})["sayonce_workers"] == {(): [1]}
    one.leave({}, Shown())
    (directory / "junk").write_bytes(b"\xff\x00garbage")
    (directory / "folder").mkdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert other.sum({})["sayonce_workers"] == {(): [2]}
    assert len(caplog.records) == 1


def test_metrics_that_cannot_be_written_for_other_workers_fail_no_request(tmp_path, caplog):
    workers = Workers(tmp_path / "gone" / "shared")
    with caplog.at_level(logging.WARNING):
        workers.leave({}, Shown())
        assert workers.sum({})["sayonce_workers"] == {(): [1]}
    assert len(caplog.records) == 1
