import numpy as np
import pytest
import torch

from nearfar.randomness import permutation, philox, seed_of, uniform

ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # from Random123, the authors' own code: kat_vectors, philox4x32 10
        ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ONES] * 4, (ONES, ONES), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_equals_the_known_answers(counter, key, words):
    assert philox(np.array([counter], dtype=np.uint64), key).tolist() == [words]


def test_numbers_belong_to_the_draw_whatever_else_is_asked_for():
    draws = np.arange(100)
    numbers, order = uniform(3, "crop", draws, 7), np.random.default_rng(0).permutation(100)
    assert np.array_equal(uniform(3, "crop", draws[order], 7), numbers[order])
    assert np.array_equal(uniform(3, "crop", draws[40:50], 7), numbers[40:50])
    assert np.array_equal(uniform(3, "crop", draws, 9)[:, :7], numbers)
    assert (numbers.shape, numbers.dtype) == ((100, 7), np.float32)


@pytest.mark.parametrize("other", [{"seed": 1}, {"stream": "flip"}, {"view": 1}, {"draws": np.arange(64) + 64}])
def test_another_key_gives_unrelated_numbers(other):
    key = {"seed": 0, "stream": "crop", "draws": np.arange(64), "count": 64, "view": 0}
    one, two = uniform(**key).ravel(), uniform(**(key | other)).ravel()
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.08  # 5 standard deviations of 4,096 unrelated pairs


def test_numbers_are_even_in_zero_to_one():
    numbers = uniform(0, "crop", np.arange(4096), 16)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    shares = np.histogram(numbers, bins=16, range=(0, 1))[0] / numbers.size
    assert np.abs(shares - 1 / 16).max() < 5 * np.sqrt(1 / 16 * 15 / 16 / numbers.size)


def test_draws_beyond_32_bits_are_told_apart():
    low, high = uniform(0, "crop", np.array([5, 5 + 2**32]), 4)
    assert not np.array_equal(low, high)


def test_seeds_of_63_bits_differ_by_each_number():
    seeds = {seed_of(0, "step", *numbers) for numbers in [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0)]}
    assert len(seeds) == 7
    assert all(0 <= seed_of(0, "step", n) < 2**63 for n in range(100))


def test_a_permutation_holds_every_row_once_and_is_a_function_of_its_key():
    rows = permutation(0, "order", 3, 100)
    assert np.array_equal(np.sort(rows), np.arange(100))
    assert np.array_equal(rows, permutation(0, "order", 3, 100))
    assert not np.array_equal(rows, permutation(0, "order", 4, 100))


def test_the_compiler_leaves_the_numbers_to_numpy():
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    compiled = torch.compile(lambda draws: uniform(0, "crop", draws, 4), backend=backend)
    assert np.array_equal(compiled(np.arange(3)), uniform(0, "crop", np.arange(3), 4))
    assert not traced
