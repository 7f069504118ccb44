"""The model of the caching allocator keeps that allocator's own rules. No GPU was asked."""

from hypothesis import given, settings
from hypothesis import strategies as st

from foveal import plan
from foveal.planner.cuda import CachingAllocator, cuda_peaks

MIB = 2**20


def test_sizes_of_segments():
    for size, reserved in (
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB),
    ):
        allocator = CachingAllocator()
        allocator.take(size)
        assert allocator.reserved == reserved
        assert allocator.allocated >= size


def test_what_is_freed_is_taken_again_and_merged():
    allocator = CachingAllocator()
    for block in [allocator.take(512 * 1024) for _ in range(4)]:
        allocator.give(block)
    assert allocator.reserved == 2 * MIB
    allocator.take(MIB)
    assert allocator.reserved == 2 * MIB
    assert allocator.peak_allocated == 2 * MIB


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40 * MIB), st.booleans()), min_size=1, max_size=60))
def test_invariants(wanted):
    allocator, held = CachingAllocator(), []
    for size, keep in wanted:
        held.append(allocator.take(size))
        if not keep and held:
            allocator.give(held.pop(0))
        inside = sum(b.size for b in held if b is not None)
        assert allocator.allocated == inside <= allocator.reserved
        assert allocator.reserved - inside == sum(b.size for b in allocator.free)
    for block in held:
        allocator.give(block)
    assert allocator.allocated == 0


def test_peaks_of_a_pass():
    assert cuda_peaks([0], [(1, True), (1, False), (2, True)], [600, 512, 512]) == (1536, 2 * MIB)


def test_a_plan_for_a_gpu_says_that_it_was_not_validated():
    found = plan("conv32k3-relu-gap-dense10", input=(3, 64, 64), batch=8, device="cuda:1GiB", remedies=False)
    assert any("not validated" in note for note in found.notes)
    assert found.fits.budget_bytes == 2**30
    assert found.train.peak_bytes <= found.train.upper_bound_bytes
