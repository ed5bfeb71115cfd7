"""`python -m tests.benchmarks.serve APPLICATION PORT WORKERS`: uvicorn, as `manage.py rungateway` runs it."""

from __future__ import annotations

import sys

import uvicorn

from ai_gateway.server import GatheringProtocol

if __name__ == "__main__":
    name, port, workers = sys.argv[1:]
    uvicorn.run(
        f"{name}:application",
        port=int(port),
        workers=int(workers),
        backlog=4096,
        loop="uvloop",
        http=GatheringProtocol,
        access_log=False,
        log_level="warning",
        server_header=False,
    )
