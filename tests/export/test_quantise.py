from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from charlm.export import quantise as q

Matrix = npt.NDArray[np.float32]


def random_matrix(inputs: int, outputs: int, seed: int = 0, shift: float = 0.0) -> Matrix:
    random = np.random.RandomState(seed)
    scales = np.exp(random.standard_normal(outputs) * 2)
    return ((random.standard_normal((inputs, outputs)) + shift) * scales).astype(np.float32)


def no_term(matrix: Matrix) -> Matrix:
    return np.zeros(matrix.shape[1], dtype=np.float32)


def pairs(values: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Neighbours along the inputs, [pairs, 2, outputs], by a loop of its own."""
    wide = values.astype(np.int64)
    rows = [wide[row : row + 2] for row in range(0, len(wide), 2)]
    if len(rows[-1]) == 1:
        rows[-1] = np.concatenate((rows[-1], np.zeros_like(rows[-1])))
    return np.array(rows)


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])  # all of one sign is the worst case
@pytest.mark.parametrize("inputs", [1, 2, 7, 192])
def test_no_pair_of_products_leaves_int16_for_any_activations(inputs: int, shift: float) -> None:
    matrix = random_matrix(inputs, 300, shift=shift)
    values = q.quantise(matrix, no_term(matrix)).values
    found = pairs(values)
    for both in product((0, 255), repeat=2):  # a sum is largest where each is smallest or largest
        sums = (found * np.array(both)[None, :, None]).sum(axis=1)
        assert sums.max() <= 32767
        assert sums.min() >= -32768


def test_eight_bits_for_the_largest_weight_alone_would_saturate() -> None:
    matrix = random_matrix(192, 300)
    naive = np.rint(matrix / (np.abs(matrix).max(axis=0) / 127)).astype(np.int8)
    assert (pairs(naive) * 255).sum(axis=1).max() > 32767, "the rule above would be no use"


def test_a_weight_is_off_by_half_a_unit_at_most() -> None:
    matrix = random_matrix(192, 300)
    found = q.quantise(matrix, no_term(matrix))
    error = np.abs(found.values - matrix.astype(np.float64) / found.scale)
    assert 0.49 < error.max() <= 0.5


def test_a_scale_is_no_larger_than_it_must_be() -> None:
    matrix = random_matrix(193, 300)
    found = q.quantise(matrix, no_term(matrix))
    values = np.abs(found.values.astype(int))
    full = (values.max(axis=0) == 127) | (q.pair_sums(found.values).max(axis=0) >= 127)
    assert full.all()
    assert (found.scale < np.abs(matrix).max(axis=0) / 63.4).all(), "never worse than 7 bits"


def test_each_column_has_a_scale_of_its_own() -> None:
    matrix = np.array([[1.0, 100.0], [-1.0, 50.0]], dtype=np.float32)
    found = q.quantise(matrix, no_term(matrix))
    assert found.values.tolist() == [[127, 85], [-127, 43]]
    assert found.scale == pytest.approx([1 / 127, 150 / 128])


def test_two_halves_that_sum_to_128_are_not_both_rounded_up() -> None:
    random = np.random.RandomState(0)
    units = random.randint(0, 128, 4000) + 0.5
    matrix = np.stack((units, 128 - units)) * np.exp(random.standard_normal(4000))
    found = q.quantise(matrix.astype(np.float32), np.zeros(4000, dtype=np.float32))
    assert set(found.values.astype(int).sum(axis=0)) <= {127, 128}
    assert (found.values.astype(int).sum(axis=0) == 128).any()


def test_columns_of_zeros_leave_what_is_added_to_them_alone() -> None:
    matrix = np.zeros((4, 3), dtype=np.float32)
    added = np.array([[0.0, 3.25, -7.5], [0.0, 1e-3, 2.0]], dtype=np.float32)
    found = q.quantise(matrix, added)
    assert not found.values.any()
    term = found.term(added)
    assert term.dtype == np.int32
    np.testing.assert_allclose(term * found.product_scale.astype(float), added, rtol=1e-6)


def test_what_is_added_fits_int32_with_room_for_the_product() -> None:
    matrix = np.full((8, 2), 1e-12, dtype=np.float32)
    added = np.array([1e3, -1e3], dtype=np.float32)
    term = q.quantise(matrix, added).term(added)
    assert np.abs(term.astype(np.int64)).max() <= q.LARGEST_TERM * 1.001


def test_a_hidden_state_becomes_bytes_from_1_to_255() -> None:
    h = np.array([-1, -0.5, -1 / 254, 0, 1 / 254, 0.5, 1], dtype=np.float32)
    assert q.to_uint8(h).tolist() == [1, 64, 128, 128, 128, 192, 255]  # ties go to even
    assert q.to_uint8(h).dtype == np.uint8


def test_columns_are_cut_out_with_their_scales() -> None:
    matrix = random_matrix(6, 8)
    found = q.quantise(matrix, no_term(matrix))
    part = found.columns(slice(2, 5))
    np.testing.assert_array_equal(part.values, found.values[:, 2:5])
    np.testing.assert_array_equal(part.scale, found.scale[2:5])
