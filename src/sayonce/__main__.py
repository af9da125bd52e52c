"""``python -m sayonce`` is the ``sayonce`` command."""

from __future__ import annotations

from sayonce.cli import main

if __name__ == "__main__":
    main()
