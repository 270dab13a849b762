import numpy as np
import pytest
from PIL import Image

from lssl.data import detect
from lssl.data.landmark_files import write_pts
from lssl.data.portrait import (
    check_apart,
    check_not_over,
    check_upright,
    find_inputs,
    read_portrait,
    safe_name,
    unique_names,
)
from lssl.errors import LsslError


def stored(points, orientation, width, height):
    """Landmarks of the upright picture (width x height), in the pixels that are stored for an EXIF orientation."""
    x, y = points[:, 0], points[:, 1]
    right, down = width - 1 - x, height - 1 - y
    places = {1: (x, y), 2: (right, y), 3: (right, down), 4: (x, down), 5: (y, x), 6: (y, right), 7: (down, right)}
    places[8] = (down, x)
    return np.stack(places[orientation], 1)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_landmarks_of_the_stored_pixels_are_refused_and_exif_is_named(faces, tmp_path, orientation) -> None:
    points = faces.face_points()
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    upright = Image.fromarray(faces.face_picture(points, (512, 480)))
    upright.transpose(Image.Transpose(turn[orientation])).save(tmp_path / "a.jpg", exif=exif, quality=95)
    write_pts(tmp_path / "a.pts", points)
    portrait = read_portrait(tmp_path / "a.jpg")  # landmarks of the picture as it is shown
    assert np.abs(portrait.image.astype(int) - np.asarray(upright)).mean() < 6
    write_pts(tmp_path / "a.pts", stored(points, orientation, 480, 512))
    with pytest.raises(LsslError, match=rf"a\.jpg.*EXIF orientation \({orientation}\)"):
        read_portrait(tmp_path / "a.jpg")


def test_points_on_their_side_mirrored_or_swapped_are_refused(faces) -> None:
    points = faces.face_points()
    check_upright(points)
    for bad, message in (
        (points[:, ::-1], "x and y are swapped"),
        (points * [-1, 1], "mirrored"),
        (np.stack([-points[:, 1], points[:, 0]], 1), "roll of 90 degrees: .*EXIF"),
        (-points, "roll of -?180 degrees"),
    ):
        with pytest.raises(LsslError, match=message):
            check_upright(bad.astype(np.float32))
    angle = np.deg2rad(50)
    tilted = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    check_upright(tilted.astype(np.float32))


@pytest.mark.parametrize(("share", "large"), [(0.1, 1), (0.3, 2)])
def test_a_passer_by_is_no_second_face(faces, tmp_path, monkeypatch, share, large) -> None:
    points = faces.face_points()
    Image.fromarray(faces.face_picture(points)).save(tmp_path / "a.png")
    side = 100 * share**0.5
    found = [detect.Face((0, 0, 100, 100), points, 2.0), detect.Face((200, 0, 200 + side, side), points + 5, 1.0)]
    monkeypatch.setattr(detect, "find_faces", lambda image: found)
    if large == 1:
        assert np.array_equal(read_portrait(tmp_path / "a.png").landmarks, points)
        return
    with pytest.raises(LsslError, match=r"a\.png: 2 faces found \(--largest-face takes the largest\)"):
        read_portrait(tmp_path / "a.png")
    assert np.array_equal(read_portrait(tmp_path / "a.png", largest_face=True).landmarks, points)


def test_inputs_are_files_plain_folders_and_data_set_folders(faces, tmp_path) -> None:
    prepared = faces.write_folder(tmp_path / "prepared", subjects=2)
    plain = tmp_path / "plain" / "deeper"
    for name in ("b.png", "a.JPG", "c.heic", "notes.txt", ".hidden.png"):
        plain.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(plain / name, "PNG")
    single = plain / "b.png"
    (plain / "notes.txt").write_text("x")
    found = find_inputs([single, tmp_path / "plain", prepared])
    assert found.photographs == [single, plain / "a.JPG", single]
    assert found.folders == [prepared]
    assert [path.name for path, _ in found.refused] == ["c.heic"] or not found.refused  # with pillow-heif it is read
    with pytest.raises(LsslError, match=r"nothing\.png: no such file"):
        find_inputs([tmp_path / "nothing.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(LsslError, match="holds no picture that can be read"):
        find_inputs([tmp_path / "empty"])


def test_a_name_with_decomposed_letters_is_found_composed(tmp_path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "Mu\u0308ller.png")
    assert find_inputs([tmp_path / "M\u00fcller.png"]).photographs[0].exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("n/a", "n_a"), ("../up", "up"), ("a,b", "a_b"), ("x+y", "x+y"), ("k=v", "k_v"), ("", "face"), ("...", "face"),
        ("a\0b", "a_b"), ("a\nb", "a_b"), ("CON", "_CON"), ("Mu\u0308ller", "M\u00fcller"), ("笑", "笑"),
    ],
)  # fmt: skip
def test_any_text_becomes_a_safe_name(text, name) -> None:
    assert safe_name(text) == name


def test_long_names_stay_apart_and_equal_ones_are_numbered() -> None:
    long = [safe_name("ü" * 240 + end) for end in "ab"]
    assert long[0] != long[1]
    assert max(len(name.encode()) for name in long) <= 120
    assert unique_names(["1", "1", "A", "a", "a b", "a_b"]) == ["1", "1-2", "A", "a-2", "a_b", "a_b-2"]


def test_a_landmark_file_that_cannot_be_used_is_named(faces, tmp_path) -> None:
    Image.fromarray(faces.face_picture(faces.face_points())).save(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(LsslError, match=r"a\.csv: has 1 landmarks"):
        read_portrait(tmp_path / "a.png")


def test_results_do_not_lie_among_what_is_read(tmp_path) -> None:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "photos" / "a" / "1.png")
    with pytest.raises(LsslError, match="photos is the folder that is read; choose another one"):
        check_apart(tmp_path / "photos", [tmp_path / "photos"])
    with pytest.raises(LsslError, match=r"out lies inside .*photos, whose pictures it would add to"):
        check_apart(tmp_path / "photos" / "out", [tmp_path / "photos"])
    with pytest.raises(LsslError, match=r"happy\.png is a picture's name, but the results go to a folder"):
        check_apart(tmp_path / "happy.png", [])
    check_apart(tmp_path / "out", [tmp_path / "photos", tmp_path / "photos" / "a" / "1.png"])
    check_apart(
        tmp_path / "photos" / "a" / "out", [tmp_path / "photos" / "a"]
    )  # not looked into: pictures lie above it


def test_a_photograph_is_not_written_over(tmp_path) -> None:
    photograph, other = tmp_path / "p.png", tmp_path / "p_happy.png"
    other.touch()
    with pytest.raises(LsslError, match=r"p_happy\.png is there already, beside the photographs"):
        check_not_over([other], [photograph])
    check_not_over([tmp_path / "p_sad.png"], [photograph])
    check_not_over([other], [tmp_path / "elsewhere" / "p.png"])
