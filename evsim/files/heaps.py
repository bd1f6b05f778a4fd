"""The global heaps of an HDF5 file, read byte by byte.

HDF5 keeps every variable-length array or string in a heap collection:

    GCOL | version 1 | - - - | size of the collection
      index | references | - - - - | size | data, padded to 8 bytes
      index | ...
      0     | ...                         what is left over

The library can be sent into an endless loop by a damaged one, and tells nobody how long
an array is before it has read it. So evsim walks the collections itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

SIGNATURE = b"GCOL\x01"
HEADER = 16
_SCAN = 1 << 24
_WORD = 1 << 64

Read = Callable[[int, int], bytes]


class DamagedHeap(ValueError):
    """A collection is not what it should be; the library would notice."""


class EndlessHeap(DamagedHeap):
    """A collection in which the library would walk for ever."""


def heap_objects(read: Read, address: int) -> Iterator[tuple[int, int, int]]:
    """Walk the objects of one collection.

    Parameters
    ----------
    read : callable (start, n) -> bytes
        Reads from the file; gives fewer bytes at its end.
    address : int
        Of the collection, in bytes from the start of the file.

    Yields
    ------
    index, start, size : int
        The object's index (0 for free space), and where its data lie.

    Raises
    ------
    DamagedHeap
        If the collection is damaged; `EndlessHeap` if it must be kept from the library.
    """
    head = read(address, HEADER)
    if len(head) < HEADER or not head.startswith(SIGNATURE):
        raise DamagedHeap(f"there is no heap of variable-length data at byte {address}")
    end = address + struct.unpack_from("<Q", head, 8)[0]
    at = address + HEADER
    while at + HEADER <= end:
        entry = read(at, HEADER)
        if len(entry) < HEADER:
            raise DamagedHeap(f"the heap at byte {address} ends beyond the file")
        index, size = struct.unpack("<HxxxxxxQ", entry)
        step = (HEADER + (size + 7) // 8 * 8 if index else size) % _WORD
        if step == 0:
            raise EndlessHeap(f"the heap at byte {address} is damaged")
        if at + step > end:
            raise DamagedHeap(f"the heap at byte {address} is damaged")
        yield index, at + HEADER, size
        at += step


def endless_heap(read: Read, n_bytes: int) -> int | None:
    """Return the address of a collection that must not be shown to the library, if any.

    Every place that looks like a collection is walked, whether anything refers to it or
    not: who refers to it is not known without the library.
    """
    overlap = len(SIGNATURE) - 1
    steps_left = n_bytes // HEADER + 1  # sound collections don't overlap
    for start in range(0, n_bytes, _SCAN):
        block = read(start, _SCAN + overlap)
        at = block.find(SIGNATURE)
        while at >= 0:
            try:
                for _ in heap_objects(read, start + at):
                    steps_left -= 1
                    if steps_left < 0:
                        return start + at
            except EndlessHeap:
                return start + at
            except DamagedHeap:
                pass
            at = block.find(SIGNATURE, at + 1)
    return None
