"""What metrics, ledger and logs at level info cost a hit in memory: the gateway with them and without, in turn.

``python bench/observe.py [--rounds 7] [--seconds 3]``
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

from common import LOAD_CORE, SERVER_CORE, ask, bench_server, finish, median, sayonce, stay_on, table, verdict
from hits_http import FIELDS, load

CONNECTIONS = 16
STORE = {"SAYONCE_STORE__URL": "sqlite:///clips.db", "SAYONCE_SERVER__ENGINE": "hibari"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    stay_on(LOAD_CORE)
    measured = defaultdict(list)
    with (
        tempfile.NamedTemporaryFile(suffix=".json") as body,
        sayonce(core=SERVER_CORE, env=STORE) as observed,
        bench_server("unobserved.py", core=SERVER_CORE, env=STORE) as unobserved,
    ):
        Path(body.name).write_text(json.dumps(FIELDS))
        servers = {"observed": observed, "unobserved": unobserved}
        for server in servers.values():
            ask(server.port, FIELDS)
            if "detail=memory" not in ask(server.port, FIELDS)[1]["cache-status"]:
                raise SystemExit("this should have been a hit in memory")
        for number in range(options.rounds + 1):
            for name, server in servers.items():
                figures = load(server, CONNECTIONS, options.seconds, Path(body.name))
                if number:  # the first round warms up
                    measured[name].append(figures)
    _report(measured)


def _report(measured: dict[str, list[dict[str, float]]]) -> None:
    middle = {
        name: {figure: median([each[figure] for each in found]) for figure in ("per_second", "p50_ms", "cpu_us")}
        for name, found in measured.items()
    }
    rows = [(name, round(f["per_second"]), f"{f['p50_ms']:.3f}", f"{f['cpu_us']:.1f}") for name, f in middle.items()]
    table("hits in memory, 16 connections", ("", "requests/s", "p50 ms", "server's CPU µs a request"), rows)
    pairs = list(zip(measured["observed"], measured["unobserved"], strict=True))
    rate = 100 * (1 - median([on["per_second"] / off["per_second"] for on, off in pairs]))
    cpu = 100 * (median([on["cpu_us"] / off["cpu_us"] for on, off in pairs]) - 1)
    print()
    verdict("of the throughput that watching costs, %", rate, target=5, at_most=True)
    print(f"the same by the servers' CPU time: {cpu:.2f} %")
    finish("observe", {"throughput_percent": rate, "cpu_percent": cpu, "sides": middle})


if __name__ == "__main__":
    main()
