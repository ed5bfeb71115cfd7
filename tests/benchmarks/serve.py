"""`python -m tests.benchmarks.serve APPLICATION PORT [plain]`: one uvicorn worker, as `manage.py rungateway` runs it.

`plain` leaves out the gateway's own HTTP protocol, which is how a site behaves that starts uvicorn itself.
"""

from __future__ import annotations

import sys

import uvicorn

from ai_gateway.server import GatheringProtocol

if __name__ == "__main__":
    name, port, *kind = sys.argv[1:]
    uvicorn.run(
        f"{name}:application",
        port=int(port),
        backlog=4096,
        loop="uvloop",
        http="httptools" if kind == ["plain"] else GatheringProtocol,
        access_log=False,
        log_level="warning",
        server_header=False,
    )
