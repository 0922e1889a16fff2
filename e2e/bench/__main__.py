"""``python -m e2e.bench [--only PART,...] [--n 1,50,200]``: measure and print.

Parts: promote, idle, progress, breach, restart, outage. Without ``--only`` all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from e2e.bench.runs import Bench, promote, say, scale

PARTS = ("promote", "idle", "progress", "breach", "restart", "outage")


async def main(arguments: argparse.Namespace) -> int:
    """Run what was asked for, each on a control plane of its own."""
    parts = set(arguments.only.split(",")) if arguments.only else set(PARTS)
    unknown = parts - set(PARTS)
    if unknown:
        print(f"--only: no such part; got {', '.join(sorted(unknown))}; allowed {', '.join(PARTS)}")
        return 2
    results: dict[str, Any] = {}
    if "promote" in parts:
        # So much traffic that the run's length is its steps', not that of the proofs.
        bench = await Bench.start(arguments.scrape, rate=1000)
        try:
            await promote(bench, 10)
        finally:
            results |= bench.results
            await bench.stop()
    if parts - {"promote"}:
        for count in map(int, arguments.n.split(",")):
            bench = await Bench.start(arguments.scrape, arguments.rate, arguments.profile)
            try:
                await scale(bench, count, parts)
            finally:
                results |= bench.results
                await bench.stop()
    say("all figures")
    json.dump(results, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m e2e.bench", description=__doc__)
    parser.add_argument("--only", default="", help="parts, separated by commas")
    parser.add_argument("--n", default="1,50,200", help="numbers of handoffs")
    parser.add_argument("--scrape", type=float, default=5.0, help="seconds between scrapes")
    parser.add_argument("--rate", type=float, default=50.0, help="requests/s of one handoff")
    parser.add_argument("--profile", default="", help="write a cProfile of the operator here")
    sys.exit(asyncio.run(main(parser.parse_args())))
