import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lssl.evaluation.measures.contact_sheet import contact_sheet
from lssl.evaluation.measures.judges import judge_expressions
from lssl.evaluation.measures.portraits import FACE, MOUTH, FacePicture, common_scale, region_crops, resized
from lssl.evaluation.measures.sharpness import change_off_face, sharpness_ratio


def portrait(drawn, seed=0, side=256, label="neutral"):
    return FacePicture(
        f"p{seed:02d}", label, drawn.picture(seed, side), drawn.face(60 * side / 256, (side / 2, 0.4 * side))
    )


def test_crops_do_not_depend_on_the_pictures_size_or_tilt(drawn):
    one = portrait(drawn)
    small = np.asarray(Image.fromarray(one.image).resize((512, 512), Image.Resampling.BICUBIC))
    large = FacePicture(one.subject, one.label, small, ((one.landmarks + 0.5) * 2 - 0.5).astype(np.float32))
    for region in (MOUTH, FACE):
        a, b = (region_crops([p], region, 40.0)[0].astype(int) for p in (one, large))
        assert a.shape == b.shape
        assert np.abs(a - b).mean() < 3


def test_a_mouth_crop_of_a_512_pixel_photograph_has_96_by_64_pixels(drawn):
    points = drawn.face(512 / 6.667, (256, 230))
    assert region_crops([FacePicture("p", "n", drawn.picture(0, 512), points)], MOUTH, 512 / 6.667).shape == (
        1,
        64,
        96,
        3,
    )


def test_resizing_carries_the_landmarks_and_never_enlarges(drawn):
    one = portrait(drawn)
    half = resized(one, 128)
    assert half.image.shape == (128, 128, 3)
    assert common_scale([half]) == pytest.approx(30, abs=0.01)
    assert resized(one, 512) is one


def test_sharpness_falls_with_a_blur_of_the_skin_and_not_of_the_mouth(drawn):
    before = [portrait(drawn, k) for k in range(3)]
    everywhere = [
        FacePicture(p.subject, p.label, ndimage.gaussian_filter(p.image, (1, 1, 0)), p.landmarks) for p in before
    ]
    mouths = []
    for p in before:
        picture = p.image.copy()
        x0, y0 = p.landmarks[48:60].min(0).astype(int)
        x1, y1 = p.landmarks[48:60].max(0).astype(int)
        picture[y0:y1, x0:x1] = ndimage.gaussian_filter(picture[y0:y1, x0:x1], (2, 2, 0))
        mouths.append(FacePicture(p.subject, p.label, picture, p.landmarks))
    assert sharpness_ratio(before, before) == 1
    assert sharpness_ratio(mouths, before) == pytest.approx(1)
    assert sharpness_ratio(everywhere, before) < 0.5


def test_change_off_the_face_sees_the_background_alone(drawn):
    before = portrait(drawn)
    inside, outside = before.image.copy(), before.image.copy()
    inside[150:160, 120:130] = 0
    outside[:20] = 255 - outside[:20]
    assert change_off_face(FacePicture("p", "n", inside, before.landmarks), before) == 0
    assert change_off_face(FacePicture("p", "n", outside, before.landmarks), before) > 1


def test_judges_recognise_a_mark_on_people_that_they_never_saw(drawn):
    def marked(seed, label, strength):
        one = portrait(drawn, seed, label=label)
        picture = one.image.astype(int)
        x, y = one.landmarks[48:68].mean(0).astype(int)
        picture[y - 8 : y + 8, x - 20 : x + 20] += 60 if label == "happy" else -60
        return FacePicture(one.subject, label, np.clip(picture, 0, 255).astype(np.uint8), one.landmarks)

    real = [marked(seed, label, 1) for seed in range(12) for label in ("neutral", "happy")]
    made = [FacePicture(p.subject, "happy", p.image, p.landmarks) for p in real]  # half of them show the other class
    found = judge_expressions(real, made, 60.0, folds=4)
    assert [judgement.made for judgement in found] == sorted(judgement.made for judgement in found)
    for judgement in found:
        assert judgement.real > 90
        assert judgement.recognised_real.mean() == pytest.approx(judgement.real / 100)
        assert 40 < judgement.made < 60
        assert judgement.real_beside > 90
        assert list(judgement.recognised[1::2]) == [True] * 12 or judgement.made < 50
    with pytest.raises(ValueError, match="'sad'"):
        judge_expressions(real, [FacePicture("p", "sad", made[0].image, made[0].landmarks)], 60.0, folds=4)


def test_a_contact_sheet_shows_every_picture_at_its_place(drawn):
    red, blue = np.zeros((64, 64, 3), np.uint8), np.zeros((128, 128, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = contact_sheet([[red, blue], [None, red]], ["a", "b"], ["one", "two"], side=128)
    assert sheet.shape[1] == 2 * 128 + 3 * 6
    below = sheet.shape[0] - 6 - 64, sheet.shape[0] // 2 - 32  # within the second row, and the first
    assert tuple(sheet[below[1], 70]) == (255, 0, 0)
    assert tuple(sheet[below[1], 204]) == (0, 0, 255)
    assert tuple(sheet[below[0], 70]) == (255, 255, 255)
    assert tuple(sheet[below[0], 204]) == (255, 0, 0)
