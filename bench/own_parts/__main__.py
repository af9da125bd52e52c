"""Parts of our own beside libraries that do the like: what a call costs, and what each does in a case that we have.

``python -m bench.own_parts [breaker] [metrics] [wav] [eviction] [cors] [bounds] [flights] [cluster] [sqlite]``

Libraries that are not installed are left out:
``pip install purgatory pybreaker aiobreaker cachetools theine async-lru diskcache``. Costs are processor time of one
process, medians of rounds in turn; a cell in the row of a case tells what that side did. ``cluster`` needs redis-server.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from bench.common import finish
from bench.own_parts import bounds, breaker, cluster, cors, eviction, flights, metrics, sqlite, wav

PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "breaker": breaker.compare,
    "metrics": metrics.compare,
    "wav": wav.compare,
    "eviction": eviction.compare,
    "cors": cors.compare,
    "bounds": bounds.compare,
    "flights": flights.compare,
    "cluster": cluster.compare,
    "sqlite": sqlite.compare,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all of them without any")
    chosen = parser.parse_args().parts or list(PARTS)
    finish("own_parts", {"parts": {part: PARTS[part]() for part in chosen}})


if __name__ == "__main__":
    main()
