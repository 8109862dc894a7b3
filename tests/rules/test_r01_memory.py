"""R1: memory that holds faces has one owner, which lends it, overwrites it and gives nobody the next face."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.errors import SafeguardError
from edgeagent.vision.memory import BiometricMemory, room

Array = npt.NDArray[Any]
FACE = (5, 2)


def lend(memory: BiometricMemory, use: Callable[[Array], object]) -> None:
    """Lend landmarks full of ones to a function; its names end before the loan does."""
    with memory.loan():
        use(taken(memory))


def taken(memory: BiometricMemory) -> Array:
    array = memory.take(FACE, np.float32)
    array.fill(1)
    return array


def test_what_was_lent_is_zeros_when_the_loan_ends() -> None:
    memory = BiometricMemory(4096)
    lend(memory, lambda face: None)
    assert memory.wiped
    assert memory.kept == 0


KEEPERS: dict[str, Callable[[Array], object]] = {
    "the array": lambda face: face,
    "a row": lambda face: face[1],
    "another shape": lambda face: face.reshape(-1).view(np.uint8),
    "a memory view": lambda face: face.reshape(-1).data,
    "an iterator": lambda face: iter(face),
}


@pytest.mark.parametrize("keep", KEEPERS.values(), ids=KEEPERS)
def test_who_keeps_something_sees_zeros_for_ever(keep: Callable[[Array], object]) -> None:
    """Not the next face either; and the memory says that it happened, which locks the gate."""
    memory, kept = BiometricMemory(4096), []
    lend(memory, lambda face: kept.append(keep(face)))
    assert memory.kept == 1
    assert not memory.wiped
    with memory.loan():
        next_face = taken(memory)
        held: Any = kept[0]
        assert not np.array(list(held)).any()
        del next_face


def test_a_copy_is_beyond_its_reach_and_is_what_the_search_of_memory_is_for() -> None:
    memory, kept = BiometricMemory(4096), []
    lend(memory, lambda face: kept.append(face.copy()))
    assert memory.kept == 0
    assert kept[0].all()


def test_a_failure_overwrites_too_and_its_traceback_holds_zeros() -> None:
    memory = BiometricMemory(4096)

    def fails(face: Array) -> None:
        raise RuntimeError("a driver")

    with pytest.raises(RuntimeError) as failure:
        lend(memory, fails)
    held = [entry.frame.f_locals.get("face") for entry in failure.traceback]
    arrays = [array for array in held if array is not None]
    assert arrays
    lend(memory, lambda face: None)
    with memory.loan():
        taken(memory)
        assert not any(array.any() for array in arrays)
    assert memory.wiped


def test_an_inner_loan_ends_first_and_leaves_the_outer_one_alone() -> None:
    memory = BiometricMemory(4096)
    with memory.loan():
        outer = taken(memory)
        with memory.loan():
            inner = taken(memory)
        assert outer.all()
        assert not inner.any()
        del outer, inner
    assert memory.wiped


def test_there_is_no_other_memory_when_it_is_full() -> None:
    memory = BiometricMemory(256)
    with memory.loan(), pytest.raises(SafeguardError, match="no room") as refusal:
        memory.take((257,), np.uint8)
    assert refusal.value.rule == "R1"
    assert memory.wiped


@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from([np.uint8, np.float32, np.complex128]))))
def test_what_has_room_fits_and_never_overlaps(wanted: list[tuple[int, type[np.generic]]]) -> None:
    shapes = [((count, 2), dtype) for count, dtype in wanted]
    memory = BiometricMemory(max(room(*shapes), 1))
    arrays = [memory.take(*shape) for shape in shapes]
    for number, array in enumerate(arrays):
        array.fill(number + 1)
    assert all((array == number + 1).all() for number, array in enumerate(arrays))
    memory.wipe()
    assert not any(array.any() for array in arrays)
    assert memory.wiped


def test_it_is_kept_out_of_dumps_forks_and_swap() -> None:
    """As the system itself lists it: dd no dump, dc no copy in a child, lo locked."""
    memory = BiometricMemory(1 << 16)
    start = f"{memory._whole.ctypes.data:x}-"
    after = Path("/proc/self/smaps").read_text().split(f"\n{start}", 1)[1]
    flags = set(after.split("VmFlags:", 1)[1].splitlines()[0].split())
    assert {"dd", "dc"} <= flags
    assert ("lo" in flags) is memory.locked


def test_it_may_lie_in_a_file_without_a_name_that_another_process_fills() -> None:
    handle = os.memfd_create("test")
    os.ftruncate(handle, room(((100,), np.uint8)))
    memory = BiometricMemory(100, handle)
    frame = memory.take((100,), np.uint8)
    with mmap.mmap(handle, 100) as child:
        child[:] = b"f" * 100
        assert (frame == ord("f")).all()
        assert not memory.wiped
        memory.wipe()
        assert child[:] == bytes(100)
    assert memory.wiped
    os.close(handle)
