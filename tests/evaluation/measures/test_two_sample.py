import numpy as np
import pytest
from scipy import ndimage

from lssl.evaluation.measures.two_sample import halves_control, two_sample_test

PEOPLE = [f"p{k:02d}" for k in range(40)]


def test_two_sets_of_one_kind_cannot_be_told_apart(drawn):
    areas = [
        two_sample_test(drawn.crops(40, 2 * k), drawn.crops(40, 2 * k + 1), PEOPLE, PEOPLE, resamples=0).area
        for k in range(4)
    ]
    assert 0.4 < np.mean(areas) < 0.6


@pytest.mark.parametrize("change", ["tint", "blur"])
def test_a_faint_tint_and_a_faint_blur_are_seen(drawn, change):
    real, made = drawn.crops(40, 0), drawn.crops(40, 1)
    if change == "tint":
        made = np.clip(made + np.array([40, 0, 0]), 0, 255).astype(np.uint8)
    else:
        made = np.stack([ndimage.gaussian_filter(picture, (0.7, 0.7, 0)) for picture in made])
    found = two_sample_test(real, made, PEOPLE, PEOPLE)
    assert found.area > 0.9
    assert found.low <= found.area <= found.high
    assert found.people == found.made == found.real == 40


def test_the_same_pictures_give_exactly_one_half(drawn):
    real = drawn.crops(30, 3)
    assert two_sample_test(real, real.copy(), PEOPLE[:30], PEOPLE[:30]).area == 0.5


def test_nobody_is_trained_and_tested_on(drawn):
    """Half of the people are labelled synthetic: a classifier tested on people it has seen would recognise them."""
    owners = np.repeat(np.arange(20), 3)
    chance = np.random.default_rng(0)
    pictures = np.clip(drawn.crops(20, 4)[owners] + chance.normal(0, 2, (60, 32, 48, 3)), 0, 255).astype(np.uint8)
    areas = []
    for _ in range(6):
        made = np.isin(owners, chance.permutation(20)[:10])
        names = np.array([f"p{k}" for k in owners])
        areas.append(two_sample_test(pictures[~made], pictures[made], names[~made], names[made], resamples=0).area)
    assert np.mean(areas) < 0.7


def test_the_interval_holds_one_half_where_nothing_differs_and_is_narrower_for_more_people(drawn):
    few = two_sample_test(drawn.crops(12, 5), drawn.crops(12, 6), PEOPLE[:12], PEOPLE[12:24])
    many = two_sample_test(
        drawn.crops(60, 5), drawn.crops(60, 6), [str(k) for k in range(60)], [str(k + 60) for k in range(60)]
    )
    assert few.low < 0.5 < few.high
    assert many.high - many.low < few.high - few.low


def test_the_control_is_about_one_half_and_finds_a_writing_that_blurs(drawn):
    real = drawn.crops(40, 7)
    area, error = halves_control(real, real, PEOPLE, halvings=10)
    assert abs(area - 0.5) < 0.1
    assert error < 0.06
    blurred = np.stack([ndimage.gaussian_filter(picture, (0.8, 0.8, 0)) for picture in real])
    assert halves_control(real, blurred, PEOPLE, halvings=5)[0] > 0.85


def test_the_same_seed_gives_the_same_figures(drawn):
    arguments = (drawn.crops(12, 8), drawn.crops(12, 9), PEOPLE[:12], PEOPLE[:12])
    assert two_sample_test(*arguments) == two_sample_test(*arguments)


def test_too_few_people_and_two_sizes_are_refused(drawn):
    with pytest.raises(ValueError, match="there are 1 and 3"):
        two_sample_test(drawn.crops(3, 0), drawn.crops(3, 1), ["a"] * 3, ["a", "b", "c"])
    with pytest.raises(ValueError, match="real crops are"):
        two_sample_test(drawn.crops(3, 0), drawn.crops(3, 1, (32, 32)), PEOPLE[:3], PEOPLE[:3])
