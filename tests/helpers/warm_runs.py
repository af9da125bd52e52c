"""A run of ``sayonce warm`` in a process of its own, and what its store has meanwhile."""

import sqlite3
import subprocess
import time

from tests.helpers.commandline import COMMAND


def query(directory, sql):
    """Return what the store's file says, and nothing while it is being made."""
    file = directory / "cache/sayonce/clips.db"
    if not file.exists():
        return []
    db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return db.execute(sql).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return []
    finally:
        db.close()


def entries(directory):
    """Return the keys of the store and what is kept under them, which tells a second making by its time."""
    return dict(query(directory, "SELECT key, sealed FROM entries JOIN bodies USING (id)"))


def begin(sayonce, *arguments):
    command = [*COMMAND, "warm", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=sayonce.directory, env=sayonce.environment, stdout=pipe, stderr=pipe)


def await_entries(process, sayonce, count):
    deadline = time.monotonic() + 60
    while len(query(sayonce.directory, "SELECT id FROM entries")) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)  # another process's progress
