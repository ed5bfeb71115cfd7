"""Two gateways, a provider, Redis and PostgreSQL, each a host of its own: cut off, slow, and restarted under load.

    sudo python -m tests.chaos.namespaces [--seconds 4]

Each has a network namespace with a cable to one bridge. A cable is pulled (`ip link set down`, so that packets are lost
and nobody is told) or narrowed to a few kilobytes a second; a program is killed, or a gateway asked to end, and started
again. Callers of both gateways go on all the time, and what they saw is printed as a table. At the end it is checked
that every call which was answered is in the ledger once, that the limits stand at the sum of it, and that nothing is
left of calls in the gateways.

It needs root, `ip`, `tc`, and the programs of Redis and PostgreSQL, and says so if they are not there. What it makes is
named after its process, and gone when it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tests import databases
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import site_environment
from tests.redis_server import find_redis
from tests.threads import going_on
from tests.upstream import Upstream, json_answer
from tests.wire.test_accounting import ANSWER, COST, PRICES

ROOT = Path(__file__).resolve().parent.parent.parent
NETWORK = "10.231.77"
PATIENCE = 30.0

CALLERS = 3
"""For each gateway."""

PAUSE = 0.02
"""Seconds between two calls of a caller."""

TIMEOUT = 10.0
"""Seconds after which a caller gives up."""

NARROW = ("rate", "256kbit", "burst", "3000", "latency", "2s")
"""What is left of a cable that is slow: 32 KB a second, and packets that wait."""

OPTIONS = {
    "connect_timeout": 2,
    "tcp_user_timeout": 2000,
    # Or a gateway that is cut off in the middle of a transaction would hold the locks that the other one waits for.
    "options": "-c idle_in_transaction_session_timeout=5s",
}

LIMITS = [
    {"name": "requests", "scope": "key", "measure": "requests", "window": "total", "amount": 10**9},
    {"name": "cost", "scope": "key", "measure": "cost", "window": "total", "amount": "1000000"},
]


def run(*command: str) -> None:
    """Run a program that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


class Bridge:
    """What all cables end in. The callers are at it, too."""

    def __init__(self) -> None:
        self.name = f"gwb{os.getpid()}"
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")

    def remove(self) -> None:
        """Take it away."""
        run("ip", "link", "del", self.name)


class Host:
    """A network namespace with an address, a cable, and a program that runs in it."""

    def __init__(self, name: str, number: int, bridge: Bridge, port: int) -> None:
        self.name = name
        self.address = f"{NETWORK}.{number}"
        self.port = port
        self.command: Sequence[str] = ()
        self.environment: dict[str, str] = {}
        self.log = Path(os.devnull)
        self.harsh = signal.SIGKILL
        """What ends the program, and its children, without a word."""
        self.process: subprocess.Popen[bytes] | None = None
        self._space = f"gw-{os.getpid()}-{number}"
        self._plug = f"gw{os.getpid()}p{number}"
        run("ip", "netns", "add", self._space)
        run("ip", "link", "add", self._plug, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        run("ip", "link", "set", self._plug, "master", bridge.name, "up")
        for command in ("link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            run("ip", "-n", self._space, *command.split())

    def start(self) -> None:
        """Start the program, and wait until it can be reached."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self._space, *self.command],
                cwd=ROOT, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not self._is_there():
            assert time.monotonic() < deadline, f"{self.name} does not start:\n{self.log.read_text()[-2000:]}"
            time.sleep(0.05)

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 1):
            return True
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the program."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)

    def kill(self) -> None:
        """End the program without asking it."""
        self.stop(self.harsh)

    def cut(self) -> None:
        """Pull the cable."""
        run("ip", "link", "set", self._plug, "down")

    def mend(self) -> None:
        """Plug it in again."""
        run("ip", "link", "set", self._plug, "up")

    def narrow(self) -> None:
        """Let little through, in both directions."""
        run("tc", "qdisc", "add", "dev", self._plug, "root", "tbf", *NARROW)
        run("tc", "-n", self._space, "qdisc", "add", "dev", "eth0", "root", "tbf", *NARROW)

    def widen(self) -> None:
        """Let everything through."""
        run("tc", "qdisc", "del", "dev", self._plug, "root")
        run("tc", "-n", self._space, "qdisc", "del", "dev", "eth0", "root")

    def remove(self) -> None:
        """End the program, and take the host away with its cable."""
        self.stop(signal.SIGTERM if self.harsh == signal.SIGKILL else self.harsh)
        run("ip", "link", "del", self._plug)
        run("ip", "netns", "del", self._space)


class Seen(NamedTuple):
    """What one caller saw."""

    phase: str
    gateway: str
    told: str
    seconds: float
    request_id: str


class Callers:
    """Callers of the gateways, and what they saw, by phase."""

    def __init__(self, gateways: Sequence[Host]) -> None:
        self.phase = "well"
        self.seen: list[Seen] = []
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._call_on, args=(gateway, f"{number}-{each}"))
            for number, gateway in enumerate(gateways)
            for each in range(CALLERS)
        ]

    def calling(self) -> AbstractContextManager[None]:
        """Call, until the block is over."""
        return going_on(self._threads, self._is_over)

    def _call_on(self, gateway: Host, name: str) -> None:
        connection = http.client.HTTPConnection(gateway.address, gateway.port, timeout=TIMEOUT)
        number = 0
        while not self._is_over.is_set():
            number += 1
            request_id, began = f"call-{name}-{number}", time.monotonic()
            try:
                told = ask(connection, request_id)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                told = "no answer" if isinstance(error, TimeoutError) else "no connection"
            # A call belongs to the phase that it ended in: one that began before may have been broken off.
            self.seen.append(Seen(self.phase, gateway.name, told, time.monotonic() - began, request_id))
            time.sleep(PAUSE)


def ask(connection: http.client.HTTPConnection, request_id: str) -> str:
    """Make a call; give "200", or the status and code of its error."""
    headers = {
        "authorization": f"Bearer {GATEWAY_KEY}", "content-type": "application/json", "x-request-id": request_id
    }  # fmt: skip
    body = json.dumps({"model": "gpt-5-mini", "max_tokens": 200, "messages": [{"role": "user", "content": "Hi"}]})
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    return "200" if answer.status == 200 else f"{answer.status} {json.loads(content)['error']['code']}"


def look_inside(gateway: Host, path: str) -> Any:
    """Ask a gateway for a page about itself."""
    connection = http.client.HTTPConnection(gateway.address, gateway.port, timeout=TIMEOUT)
    connection.request("GET", path, headers={"host": "localhost", "authorization": f"Bearer {GATEWAY_KEY}"})
    try:
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


# The hosts.


def new_redis(host: Host, folder: Path) -> None:
    """Give a host a Redis that writes everything down."""
    host.log = folder / "redis.log"
    options = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--protected-mode", "no"]
    place = ["--bind", host.address, "--port", str(host.port), "--dir", str(folder)]
    host.command = [find_redis(), *place, *options]
    host.start()


def new_postgres(host: Host, folder: Path) -> databases.Database:
    """Give a host a PostgreSQL, make the tables, and describe it."""
    programs, data = databases.find_postgres(), folder / "data"
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    folder.chmod(0o755)
    as_postgres = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    run(*as_postgres, str(programs / "initdb"), "-D", str(data), "-U", "gateway", "-A", "trust", "-E", "UTF8")
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NETWORK}.0/24 trust\n")
    settings = {"listen_addresses": host.address, "port": host.port, "unix_socket_directories": data, "fsync": "off"}
    options = [f"--{name}={value}" for name, value in settings.items()]
    host.log, host.harsh = folder / "postgres.log", signal.SIGQUIT
    host.command = [*as_postgres, str(programs / "postgres"), "-D", str(data), *options]
    host.start()
    described = {
        "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "gateway", "HOST": host.address,
        "PORT": str(host.port), "OPTIONS": OPTIONS,
    }  # fmt: skip
    databases.migrate(site_environment("direct", {}, {"DATABASES": {"default": described}}))
    return described


def new_provider(host: Host, folder: Path) -> None:
    """Give a host a provider."""
    host.log = folder / "provider.log"
    host.command = [sys.executable, "-m", "tests.chaos.namespaces", "--provider", host.address, str(host.port)]
    host.environment = {"PYTHONPATH": str(ROOT)}
    host.start()


def new_gateway(host: Host, folder: Path, settings: dict[str, Any], database: databases.Database) -> None:
    """Give a host a gateway."""
    host.log = folder / f"{host.name.replace(' ', '-')}.log"
    server = ["--http", "httptools", "--loop", "uvloop", "--lifespan", "on", "--no-access-log"]
    place = ["--host", host.address, "--port", str(host.port)]
    host.command = [sys.executable, "-m", "uvicorn", "tests.wire.site_asgi:application", *place, *server]
    journal = str(folder / f"journal-{host.port}")
    site = {"DATABASES": {"default": database}, "ROOT_URLCONF": "tests.chaos.site_urls"}
    host.environment = site_environment("direct", {**settings, "USAGE_JOURNAL": journal}, site)
    host.start()


def settings_of(provider: Host, redis: Host) -> dict[str, Any]:
    """Write what both gateways have in common."""
    options = {"base_url": f"http://{provider.address}:{provider.port}/v1", "api_key": "sk-x", "allow_private": True}
    store = {"BACKEND": "redis", "OPTIONS": {"url": f"redis://{redis.address}:{redis.port}/0"}, "TIMEOUT": 1}
    return {
        "PROVIDERS": {"openai": {"OPTIONS": options}},
        "KEYS": {"team-a": GATEWAY_KEY},
        "PRICES": PRICES,
        "LIMITS": LIMITS,
        "LIMIT_STORE": store,
        "RESERVATION_TTL": 5,
        "TIMEOUTS": {"connect": 1, "pool": 1, "first_byte": 2, "idle": 2},
        "USAGE_INTERVAL": 0.2,
        "DRAIN_TIMEOUT": 2,
    }


# What befalls them.


def befall(callers: Callers, seconds: float, what: str, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """Let something befall a host for a while, and watch what callers see of it and after it."""
    callers.phase = what
    begin()
    time.sleep(seconds)
    end()
    callers.phase = f"{what}, afterwards"
    time.sleep(seconds)


def befall_all(callers: Callers, seconds: float, hosts: Sequence[Host]) -> None:
    """Let everything befall every host."""
    for host in hosts:
        befall(callers, seconds, f"{host.name} cut off", host.cut, host.mend)
        befall(callers, seconds, f"{host.name} slow", host.narrow, host.widen)
        if host.name.startswith("gateway"):
            befall(callers, seconds, f"{host.name} restarted", host.stop, host.start)
        else:
            befall(callers, seconds, f"{host.name} killed", host.kill, host.start)


def tell(seen: Sequence[Seen]) -> None:
    """Print what callers saw, as a table. Where something befalls a gateway, its callers have a row of their own."""
    print("| | calls | answered | failed | slowest |\n|---|---|---|---|---|")
    for phase in dict.fromkeys(each.phase for each in seen):
        calls = [each for each in seen if each.phase == phase]
        if phase.startswith("gateway"):
            for name in dict.fromkeys(each.gateway for each in calls):
                print(row(f"{phase}: callers of {name}", [each for each in calls if each.gateway == name]))
        else:
            print(row(phase, calls))


def row(name: str, calls: Sequence[Seen]) -> str:
    """Write a row of the table."""
    told = Counter(each.told for each in calls)
    answered = told.pop("200", 0)
    failed = ", ".join(f"{number}: {what}" for what, number in told.most_common()) or "none"
    return f"| {name} | {len(calls)} | {answered} | {failed} | {max(each.seconds for each in calls):.1f} s |"


def check(callers: Callers, gateways: Sequence[Host], database: databases.Database) -> list[str]:
    """Find what is not as it must be when all is over: a call that is missing or twice, a limit that stands elsewhere
    than the ledger, something that is left of a call."""
    answered = [each.request_id for each in callers.seen if each.told == "200"]
    deadline, found = time.monotonic() + PATIENCE, ["nothing was checked"]
    while found and time.monotonic() < deadline:
        time.sleep(1)
        found = [*check_ledger(answered, gateways[0], database)]
        for gateway in gateways:
            left = look_inside(gateway, "/inside")["left"]
            found += [f"{gateway.name} has {number} of {name!r}" for name, number in left.items() if number]
    return found


def check_ledger(answered: Sequence[str], gateway: Host, database: databases.Database) -> Iterator[str]:
    """Compare the ledger with what was answered, and the limits with the ledger."""
    import psycopg  # Only here: who has no PostgreSQL is told so first.

    place = f"host={database['HOST']} port={database['PORT']} user=gateway dbname=postgres"
    with psycopg.connect(place) as connection:
        rows = connection.execute("SELECT request_id, cost_nanos FROM ai_gateway_usagerecord").fetchall()
    names = Counter(name for name, _ in rows)
    missing, twice = set(answered) - set(names), [name for name, number in names.items() if number > 1]
    if missing:
        yield f"{len(missing)} answered calls are not in the ledger: {sorted(missing)[:3]}"
    if twice:
        yield f"{len(twice)} calls are in the ledger twice: {twice[:3]}"
    cost = sum(cost or 0 for _, cost in rows)
    limits = {each["name"]: each["used"] for each in look_inside(gateway, "/v1/usage")["limits"]}
    used = round(float(limits["cost"]) * 1e9)
    if used != cost:
        yield f"the limit stands at {used / COST:.2f} calls' cost, the ledger at {cost / COST:.2f}"


def provide(address: str, port: int) -> None:
    """Be the provider."""
    Upstream(address, port).answer(json_answer(ANSWER))
    threading.Event().wait()


def why_not() -> str | None:
    """Say why this cannot run here; None if it can."""
    if os.geteuid() != 0:
        return "it needs root, to make network namespaces"
    missing = [name for name in ("ip", "tc", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"there is no {missing[0]}"
    try:
        find_redis()
        databases.find_postgres()
    except LookupError as error:
        return str(error)
    return None


def main() -> int:
    """Build the hosts, let everything befall them, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.namespaces", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="how long each thing lasts, and is watched after it")
    parser.add_argument("--provider", nargs=2, metavar=("ADDRESS", "PORT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.provider:
        provide(given.provider[0], int(given.provider[1]))
    reason = why_not()
    if reason is not None:
        print(f"Skipped: {reason}.")
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-namespaces-")))
        bridge = Bridge()
        stack.callback(bridge.remove)
        ports = {"Redis": 6379, "PostgreSQL": 5432, "the provider": 8080, "gateway A": 8000, "gateway B": 8001}
        hosts = []
        for number, (name, port) in enumerate(ports.items(), 10):
            hosts.append(Host(name, number, bridge, port))
            stack.callback(hosts[-1].remove)
        redis, postgres, provider, *gateways = hosts
        new_redis(redis, folder)
        database = new_postgres(postgres, folder)
        new_provider(provider, folder)
        for gateway in gateways:
            new_gateway(gateway, folder, settings_of(provider, redis), database)
        callers = Callers(gateways)
        with callers.calling():
            time.sleep(given.seconds)
            befall_all(callers, given.seconds, hosts[:4])
        tell(callers.seen)
        problems = check(callers, gateways, database)
        for host in gateways:
            if "Traceback" in host.log.read_text():
                problems.append(f"{host.name} has a traceback in its log")
                print(host.log.read_text()[-4000:], file=sys.stderr)
    print(
        "\n".join(problems)
        or "The ledger has every answered call once, the limits stand where it does, nothing is left."
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
