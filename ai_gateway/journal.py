"""The journal: finished calls on disk that the database does not take at the moment.

Every process appends to a file of its own, which it keeps locked while it lives (`flock`): a file whose lock can be
taken has no living owner, and whoever finds it writes it into the database and deletes it. A line is a CRC-32 in eight
hexadecimal digits, a space, and the entry as JSON. `append` returns when the lines are on the disk (`fsync`). A crash
may leave half a line at the end, of an entry that nobody was told is safe.

A file's name ends in the mark of the database that it is for, if there is one. What is for another one is left alone: a
test run of a site beside the real one, or another project in the same folder, must not take its calls.

What can never be written, a line that cannot be read or an entry that the database refuses, is put aside in the file
`rejected`, with the reason; so is an entry of which nobody can tell whether it was written. Names of files say what
they are: `*.journal` may be replayed, all others are left alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO
from zlib import crc32

import msgspec
from django.core.files import locks

from ai_gateway.conf import settings
from ai_gateway.meter import Entry

logger = logging.getLogger("ai_gateway")

SUFFIX = ".journal"
REJECTED = "rejected"
BATCH = 500
"""Entries that are replayed at a time."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class BadLine(ValueError):
    """A line is not what was written."""


def directory() -> Path:
    """Give the directory of the journal, as the settings say. It need not exist."""
    if settings.USAGE_JOURNAL:
        return Path(settings.USAGE_JOURNAL)
    base = settings.base_directory()
    if base is not None:
        return Path(base) / "usage_journal"
    # Several sites may share a machine, and one must not write down what another one's callers used.
    site = hashlib.sha256(settings.carrier_keys()[0]).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"ai_gateway_usage_{site}"


def as_json(entry: Entry) -> bytes:
    """Write an entry as JSON, whatever is in it."""
    try:
        return _encode(entry)
    except UnicodeEncodeError:
        # Half of a surrogate pair is no character. JSON can write it, as an escape, and Python reads it.
        return json.dumps(msgspec.to_builtins(entry)).encode("ascii")


def write_line(entry: Entry) -> bytes:
    """Write an entry as a line."""
    text = as_json(entry)
    return b"%08x %b\n" % (crc32(text), text)


def read_line(line: bytes) -> Entry:
    """Read a line. Raises BadLine."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    try:
        if int(checksum, 16) != crc32(text):
            raise BadLine("the checksum is wrong")
        return _decode(text)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadLine(str(error)) from error


class Journal:
    """The journal of this process. Every method may be called in any thread, and waits for the disk."""

    def __init__(
        self, find_directory: Callable[[], Path] = directory, find_mark: Callable[[], str] = lambda: ""
    ) -> None:
        """`find_mark` gives the mark of the database, letters and digits alone; "" for none."""
        self._find_directory = find_directory
        self._find_mark = find_mark
        self._strange: set[str] = set()
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Begin anew in a forked process: the open file is its parent's."""
        self._lock = threading.Lock()
        if self._file is not None:
            self._file.close()  # Which does not unlock it: the parent has it open, too.
            self._file = None

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries, and wait until they are on the disk. Raises OSError; then none of them is there."""
        data = b"".join(map(write_line, entries))
        with self._lock:
            file = self._open()
            length = os.fstat(file.fileno()).st_size
            try:
                _write(file, data)
            except OSError:
                # Full, perhaps. A new file is begun next time, so that half a line is only ever at the end of one.
                _take_back(file, length)
                self._close()
                raise

    def replay(self, write: Callable[[Sequence[Entry]], None]) -> int:
        """Have the entries of all files without a living owner written, and delete those files. Give the number of
        entries. Raises what `write` raises, and OSError, after the other files; such a file is kept whole.

        `write` gets some entries at a time, and may get the same ones again another time.
        """
        with self._lock:
            self._close()  # What this process wrote so far has no owner any more.
        count = 0
        problem: OSError | None = None
        for path in self.files():
            try:
                count += self._replay(path, write)
            except OSError as error:
                problem = problem or error  # A file that the disk cannot read must not be in the way of all others.
        if problem is not None:
            raise problem
        return count

    def files(self) -> list[Path]:
        """Give the files that there are for this database, the oldest first."""
        folder = self._find_directory()
        if not folder.exists():
            return []
        _check(folder)
        mark = self._find_mark()
        found = sorted(folder.glob(f"*{SUFFIX}"), key=_modified)
        return [path for path in found if self._is_for(path, mark)]

    def _is_for(self, path: Path, mark: str) -> bool:
        named = _mark_of(path)
        if not mark or named in ("", mark):
            return True
        if path.name not in self._strange:
            self._strange.add(path.name)
            logger.warning(
                "The journal %s is for another database, and stays. If it is for this one, which has another name now: "
                "rename it to %s",
                path,
                path.name.replace(named, mark),
            )
        return False

    def reject(self, what: Entry | bytes, reason: str) -> None:
        """Put aside what can never be written. Raises OSError."""
        text = what.decode("utf-8", "replace") if isinstance(what, bytes) else json.loads(as_json(what))
        line = json.dumps({"reason": reason, "entry" if isinstance(what, Entry) else "line": text})
        with self._lock, open(self._folder() / REJECTED, "ab", buffering=0, opener=_private) as file:
            locks.lock(file, locks.LOCK_EX)
            length = os.fstat(file.fileno()).st_size
            try:
                _write(file, line.encode() + b"\n")
            except OSError:
                file.truncate(length)  # The next line would be glued to half of this one.
                raise

    def close(self) -> None:
        """Close the file, for another process to replay."""
        with self._lock:
            self._close()

    def _open(self) -> IO[bytes]:
        """Give the file that this process appends to. One that somebody removed is begun anew: nobody would find what
        is in it. Raises OSError."""
        if self._file is not None and not _is_at(self._file, _final(self._file)):
            logger.error("The journal %s was removed, with what was in it. Another one is begun.", _final(self._file))
            self._close()
        if self._file is None:
            self._file = _new_file(self._folder(), self._find_mark())
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _folder(self) -> Path:
        folder = self._find_directory()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(folder)
        return folder

    def _replay(self, path: Path, write: Callable[[Sequence[Entry]], None]) -> int:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return 0  # Another process was faster.
        except OSError as error:
            # Of a process that ran as another user, perhaps. It must not be in the way of all others.
            logger.error("The journal %s cannot be replayed, and stays: %s", path.name, error)
            return 0
        with file:
            if not locks.lock(file, locks.LOCK_EX | locks.LOCK_NB) or not _is_at(file, path):
                return 0  # Its owner lives, or another process is at it or was.
            count = 0
            bad: list[tuple[bytes, str]] = []
            for batch in _batches(file, bad):
                write(batch)
                count += len(batch)
            for line, reason in bad:  # Not before: until now the file may have been kept, and will then be read again.
                self._put_aside(line, f"{file.name}: {reason}")
            path.unlink()
        logger.warning("The journal %s is written to the database: %d calls.", path.name, count)
        return count

    def _put_aside(self, line: bytes, reason: str) -> None:
        if line.endswith(b"\n"):
            logger.error("A line of the journal cannot be read, and is put aside in %s: %s", REJECTED, reason)
        else:
            logger.warning("The journal ends in half a line, of a process that was killed: %s", reason)
        self.reject(line, reason)


def _batches(file: IO[bytes], bad: list[tuple[bytes, str]]) -> Iterator[list[Entry]]:
    """Give the entries of a file, some at a time; add the lines that cannot be read to `bad`, with the reason."""
    batch: list[Entry] = []
    for line in file:
        try:
            batch.append(read_line(line))
        except BadLine as error:
            bad.append((line, str(error)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _check(folder: Path) -> None:
    """Raise PermissionError if anybody could have made a folder, or can write to it, and could add entries of their
    own."""
    if not hasattr(os, "getuid"):
        return
    owner = folder.stat().st_uid  # Of what a link leads to: the links themselves may be written to by anybody.
    is_open = owner != os.getuid() and _is_anybodys(folder)
    is_made = owner not in (os.getuid(), 0) and _is_anybodys(folder.resolve().parent)
    if is_open or is_made:
        raise PermissionError(f"{folder} belongs to somebody else, and is where anybody may write")


def _is_anybodys(folder: Path) -> bool:
    return bool(stat.S_IMODE(folder.stat().st_mode) & 0o002)


def _mark_of(path: Path) -> str:
    """Read the mark out of a name: process, random letters, mark."""
    parts = path.name.removesuffix(SUFFIX).split("-")
    return parts[2] if len(parts) == 3 else ""


def _new_file(folder: Path, mark: str) -> IO[bytes]:
    """Begin a file. It gets its final name when it is locked, or another process could take it for an orphan."""
    name = "-".join(filter(None, (str(os.getpid()), uuid.uuid4().hex[:12], mark)))
    draft = folder / f"{name}.new"
    file = open(draft, "xb", buffering=0, opener=_private)  # noqa: SIM115 - it stays open while the process lives
    try:
        locks.lock(file, locks.LOCK_EX)
        draft.rename(folder / f"{name}{SUFFIX}")
        _sync_folder(folder)
    except OSError:
        draft.unlink(missing_ok=True)  # Every try would leave one, where the disk has no locks.
        file.close()
        raise
    return file


def _final(file: IO[bytes]) -> Path:
    """Give the path of a journal that is open: it knows the name that it had first."""
    return Path(file.name).with_suffix(SUFFIX)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    os.fsync(file.fileno())


def _take_back(file: IO[bytes], length: int) -> None:
    """Have a file as long as it was before a write failed. One that was just begun is deleted: while a disk is full,
    every try begins one."""
    try:
        file.truncate(length)
        if not length:
            _final(file).unlink()
    except OSError as error:
        logger.warning("A write to the journal failed, and may have left half a line: %s", error)


def _sync_folder(folder: Path) -> None:
    """Have the folder itself on the disk: else a new file in it may be lost with the machine's power."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether a file that was opened is still the one with this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
