"""The tables of docs/clients.md."""
from __future__ import annotations
import os
IS_WHOLE = os.environ.get("GATEWAY_CLIENTS") == "all"
