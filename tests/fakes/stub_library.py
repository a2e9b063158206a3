"""A shared library that exports names and holds nothing: what lets bindings be imported without what they bind.

ELF, System V ABI: one segment with symbol, string and hash tables and the dynamic section. Its functions must not
be called.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from pathlib import Path

LOAD, DYNAMIC, GNU_STACK = 1, 2, 0x6474E551
HASH, STRTAB, SYMTAB, STRSZ, SYMENT, SONAME = 4, 5, 6, 10, 11, 14
GLOBAL_FUNCTION = 0x12


def hollow(path: Path, names: Sequence[str]) -> None:
    """Write a library that exports `names`, for this machine."""
    strings, offsets = b"\0", []
    for name in (*names, path.name):
        offsets.append(len(strings))
        strings += name.encode() + b"\0"
    *functions, soname = offsets
    symbols = bytes(24) + b"".join(struct.pack("<IBBHQQ", at, GLOBAL_FUNCTION, 0, 1, 64, 0) for at in functions)
    chain = [0, *range(2, len(names) + 1), 0][: len(names) + 1]
    table = struct.pack(f"<{3 + len(chain)}I", 1, len(chain), 1 if names else 0, *chain)

    headers = 64 + 3 * 56
    parts, at, start = [symbols, strings, table], headers, []
    for index, part in enumerate(parts):
        parts[index] = part + bytes(-len(part) % 8)
        start.append(at)
        at += len(parts[index])
    entries = [(SONAME, soname), (SYMTAB, start[0]), (STRTAB, start[1]), (HASH, start[2])]
    entries += [(STRSZ, len(strings)), (SYMENT, 24), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    size = at + len(dynamic)

    machine = Path(sys.executable).resolve().read_bytes()[18:20]
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<H", 3) + machine
    head += struct.pack("<IQQQIHHHHHH", 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    segments = ((LOAD, 6, 0, size, 4096), (DYNAMIC, 6, at, len(dynamic), 8), (GNU_STACK, 6, 0, 0, 16))
    for kind, flags, offset, length, align in segments:
        head += struct.pack("<IIQQQQQQ", kind, flags, offset, offset, offset, length, length, align)
    path.write_bytes(head + b"".join(parts) + dynamic)
