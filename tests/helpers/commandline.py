"""The real ``sayonce`` command, in a process and a home of its own."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from sayonce import cli

COMMAND = [sys.executable, "-m", "sayonce"]


@dataclass
class Result:
    code: int
    out: str
    err: str
    raw: bytes

    @property
    def json(self):
        return json.loads(self.out)


class CommandLine:
    """Runs the command in ``directory``, which is its working directory and its cache's home."""

    def __init__(self, directory):
        self.directory = directory
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SAYONCE_")}
        homes = {"XDG_CACHE_HOME": str(directory / "cache"), "XDG_STATE_HOME": str(directory / "state")}
        self.environment |= {**homes, "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "error"}

    def __call__(self, *arguments, stdin=b"", **environment):
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            check=False,
            input=stdin,
            capture_output=True,
            cwd=self.directory,
            env=self.environment | environment,
            timeout=60,
        )
        result = Result(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.stdout
        )
        assert "Traceback" not in result.out + result.err, result.err
        return result

    def fails(self, code, *arguments, **more):
        """Run a command that must fail with this code, and return what it says on stderr."""
        result = self(*arguments, **more)
        assert result.code == code, result
        assert result.out == ""
        assert result.err
        return result.err

    @contextmanager
    def serving(self, *arguments, prefix=(), **environment):
        """Run ``sayonce serve`` on a free port; yields the process with its ``url`` and ``talk``, and kills it at the end.

        ``prefix`` is a command that runs it, such as ``prlimit``.
        """
        command = [*prefix, *COMMAND, "serve", "--port", "0", *map(str, arguments)]
        env = self.environment | environment
        # Unbuffered, so that what is not read here is left for ``communicate``.
        with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=self.directory, env=env, bufsize=0) as process:
            try:
                process.url = process.talk = ""
                while not process.url:
                    line = process.stderr.readline().decode()
                    assert line, process.talk
                    process.talk += line
                    process.url = line.partition("listens on ")[2].partition(",")[0]
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


def stop(process, how=signal.SIGTERM):
    """End a server as an operator would; returns its exit code and the rest of its talk."""
    process.send_signal(how)
    _, rest = process.communicate(timeout=30)
    talk = process.talk + rest.decode()
    assert "Traceback" not in talk, talk
    return process.returncode, talk


def hide(sayonce, *modules):
    """Make modules impossible to find, as where they are not installed."""
    (sayonce.directory / "sitecustomize.py").write_text(
        f"""
import sys
from importlib.machinery import PathFinder

class Hidden(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {modules!r} else super().find_spec(name, path, target)

sys.meta_path = [Hidden if finder is PathFinder else finder for finder in sys.meta_path]
"""
    )
    sayonce.environment["PYTHONPATH"] = str(sayonce.directory)


class InProcess(CommandLine):
    """The same within this process: quicker, for what does not depend on a process of its own."""

    def __init__(self, directory, monkeypatch, capsys):
        super().__init__(directory)
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        monkeypatch.chdir(directory)
        for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "LC_ALL"):
            monkeypatch.setenv(name, self.environment[name])

    def __call__(self, *arguments, stdin=b"", **environment):
        with self.monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["sayonce", *map(str, arguments)])
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr("sys.excepthook", sys.excepthook)  # typer sets its own
            with pytest.raises(SystemExit) as ending:
                cli.main()
        out, err = self.capsys.readouterr()
        return Result(ending.value.code, out, err, out.encode())
