"""Recording what SQLite asks of the disk, so that a power cut may lose what was never synchronised.

SQLite reaches files through a table of functions (a "VFS"). In the child, a copy of the usual table is made
the default, in which write, truncate, sync, open and delete also leave a line in a file. The product's
code and SQLite itself run unchanged. `crash_disk` plays the record back with a power cut at any point.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Any

OPEN, WRITE, TRUNCATE, SYNC, DELETE = range(5)
HEADER = struct.Struct("<BHQI")
"""Kind, octets of the name, offset (or new size), octets of data."""

_pointer, _int, _text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_OK = 0
_Open = ctypes.CFUNCTYPE(_int, _pointer, _text, _pointer, _int, ctypes.POINTER(_int))
_Delete = ctypes.CFUNCTYPE(_int, _pointer, _text, _int)
_Write = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(_int, _pointer, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(_int, _pointer, _int)


class _Vfs(ctypes.Structure):
    """`struct sqlite3_vfs`, as far as every version 3 of SQLite has it."""

    _fields_ = [
        ("iVersion", _int),
        ("szOsFile", _int),
        ("mxPathname", _int),
        ("pNext", _pointer),
        ("zName", _text),
        ("pAppData", _pointer),
        ("xOpen", _pointer),
        ("xDelete", _pointer),
        ("others", _pointer * 14),
    ]


_METHODS = 19
"""`struct sqlite3_io_methods` version 3: a number and 18 functions; these are their places."""
_AT_WRITE, _AT_TRUNCATE, _AT_SYNC = 3, 4, 5


def library() -> ctypes.CDLL | None:
    """The SQLite library that Python's `sqlite3` uses; None where it is built into Python itself."""
    import _sqlite3

    found = [
        line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "sqlite3.so" in line
    ]
    names = {name for name in found if name != getattr(_sqlite3, "__file__", "")}
    return ctypes.CDLL(names.pop()) if len(names) == 1 else None


def record(path: Path) -> None:
    """From now on every database of this process is recorded into `path`, which is appended to."""
    sqlite = library()
    if sqlite is None:
        raise OSError("Python's SQLite is not a shared library")
    _keep.append(_Recorder(sqlite, path))


_keep: list[Any] = []
"""SQLite holds pointers into these for as long as the process lives."""


class _Recorder:
    def __init__(self, sqlite: ctypes.CDLL, path: Path) -> None:
        sqlite.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._usual = sqlite.sqlite3_vfs_find(None)
        usual = self._usual.contents
        self._open, self._delete = _Open(usual.xOpen), _Delete(usual.xDelete)
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._names: dict[int, bytes] = {}
        self._tables: dict[int, Any] = {}
        self._calls = (_Open(self.opened), _Delete(self.deleted))
        self.vfs = _Vfs.from_buffer_copy(usual)
        self.vfs.zName = b"recording"
        self.vfs.xOpen, self.vfs.xDelete = (ctypes.cast(call, _pointer) for call in self._calls)
        if sqlite.sqlite3_vfs_register(ctypes.byref(self.vfs), 1) != _OK:
            raise OSError("SQLite does not take the recording VFS")

    def _line(self, kind: int, name: bytes, offset: int = 0, data: bytes = b"") -> None:
        os.write(self._log, HEADER.pack(kind, len(name), offset, len(data)) + name + data)

    def opened(self, _vfs: Any, name: bytes | None, file: int, flags: int, out: Any) -> int:
        code: int = self._open(ctypes.addressof(self._usual.contents), name, file, flags, out)
        if code == _OK and name is not None:
            self._names[file] = name
            self._line(OPEN, name)
            slot = ctypes.cast(file, ctypes.POINTER(_pointer))
            slot[0] = self._table(slot[0])
        return code

    def deleted(self, _vfs: Any, name: bytes, durable: int) -> int:
        code: int = self._delete(ctypes.addressof(self._usual.contents), name, durable)
        if code == _OK:
            self._line(DELETE, name)
        return code

    def _table(self, methods: int) -> int:
        """The file's table of functions, with ours for three of them."""
        if methods not in self._tables:
            table = (_pointer * _METHODS).from_buffer_copy(
                ctypes.cast(methods, ctypes.POINTER(_pointer * _METHODS)).contents
            )
            calls = (
                _Write(self._written(_Write(table[_AT_WRITE] or 0))),
                _Truncate(self._truncated(_Truncate(table[_AT_TRUNCATE] or 0))),
                _Sync(self._synced(_Sync(table[_AT_SYNC] or 0))),
            )
            for place, call in zip((_AT_WRITE, _AT_TRUNCATE, _AT_SYNC), calls, strict=True):
                table[place] = ctypes.cast(call, _pointer)
            self._tables[methods] = (table, calls)
        return ctypes.addressof(self._tables[methods][0])

    # A change is on record before it is made, a sync only after: what is in doubt counts as not durable.

    def _written(self, real: Any) -> Any:
        def write(file: int, data: int, octets: int, offset: int) -> int:
            self._line(WRITE, self._names[file], offset, ctypes.string_at(data, octets))
            return int(real(file, data, octets, offset))

        return write

    def _truncated(self, real: Any) -> Any:
        def truncate(file: int, size: int) -> int:
            self._line(TRUNCATE, self._names[file], size)
            return int(real(file, size))

        return truncate

    def _synced(self, real: Any) -> Any:
        def sync(file: int, flags: int) -> int:
            code = int(real(file, flags))
            if code == _OK:
                self._line(SYNC, self._names[file])
            return code

        return sync
