"""What the page's server answers, and to whom."""

import http.client
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from lssl.inference.demo import photographs
from tests.inference.demo.conftest import TOKEN, portrait

PNG = b"\x89PNG"


def ask(served, method, path, body=None, *, host=None, token=TOKEN, **headers):
    """(status, headers, body). host: the Host header; by default the server's address."""
    connection = http.client.HTTPConnection(*served, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{served[1]}")
    if token:
        connection.putheader("X-LSSL-Token", token)
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    if data is not None:
        connection.putheader("Content-Length", str(len(data)))
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(data)
    response = connection.getresponse()
    found = response.status, response.headers, response.read()
    connection.close()
    return found


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def upload(served, picture, kind="PNG", **options):
    status, _, body = ask(served, "POST", "/api/photographs", encoded(picture, kind, **options), X_File_Name="a.png")
    assert status == 200, body
    return json.loads(body)


def question(photo, **more):
    return {"id": photo["id"], "face": 0, "view": None, "model": "plain", "page": "p", "values": {"happy": 1}, **more}


def test_the_page_loads_nothing_from_elsewhere(served):
    status, headers, body = ask(served, "GET", "/", token=None)
    assert status == 200
    assert TOKEN in body.decode()
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path in ("/", "/page.css", "/page.js", "/icon.svg", "/arrow.svg"):
        status, headers, body = ask(served, "GET", path, token=None)
        assert status == 200
        assert b"https://" not in body
        assert b"http://" not in body.replace(b"http://www.w3.org/", b"")
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7860", "0.0.0.0", "localhost.x"]
)
def test_other_names_are_refused(served, host):
    assert ask(served, "GET", "/", host=host)[0] == 421
    assert ask(served, "GET", "/api/models", host=host)[0] == 421


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_its_own_names_are_accepted(served, name):
    assert ask(served, "GET", "/", host=f"{name}:{served[1]}")[0] == 200


def test_other_origins_and_requests_without_a_token_are_refused(served):
    own = f"http://127.0.0.1:{served[1]}"
    assert ask(served, "GET", "/api/models", Origin=own)[0] == 200
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://localhost:{served[1]}"}):
        assert ask(served, "GET", "/api/models", **headers)[0] == 403
        assert ask(served, "POST", "/api/photographs", b"x", **headers)[0] == 403
    assert ask(served, "GET", "/api/models", Sec_Fetch_Site="cross-site")[0] == 403
    assert ask(served, "GET", "/api/models", token=None)[0] == 403
    assert ask(served, "POST", "/api/photographs", b"x", token="another")[0] == 403


def test_a_photograph_is_opened_and_changed_where_the_face_is(served):
    picture = portrait()
    photo = upload(served, picture)
    assert (photo["width"], photo["height"], len(photo["faces"])) == (300, 240, 1)
    status, headers, body = ask(served, "POST", "/api/edit", question(photo))
    assert status == 200
    x, y, width, height = map(float, headers["X-Box"].split(","))
    assert 100 <= x < x + width <= 190
    assert 60 <= y < y + height <= 150
    patch = np.asarray(Image.open(io.BytesIO(body)))
    assert (patch[..., :3][patch[..., 3] == 255] == [150, 0, 90]).all()
    status, headers, body = ask(served, "POST", "/api/edit", question(photo, values={}))
    assert (status, headers["X-Box"], body) == (200, "", b"")


def test_a_draft_of_a_large_face_is_smaller_and_lies_where_the_edit_lies(served):
    photo = upload(served, portrait(900, 900, [(200, 250, 450)]))
    boxes, widths = [], []
    for draft in (True, False):
        _, headers, body = ask(served, "POST", "/api/edit", question(photo, draft=draft))
        x, y, width, height = map(float, headers["X-Box"].split(","))
        boxes.append([x + width / 2, y + height / 2])
        widths.append(Image.open(io.BytesIO(body)).width)
    assert widths[0] < widths[1] / 2
    assert np.abs(np.subtract(*boxes)).max() < 3


def test_the_download_has_the_photographs_size_and_keeps_exif_and_profile(served):
    exif = Image.Exif()
    exif[0x010E] = "a portrait"
    picture = portrait(1900, 1000, [(300, 200, 500), (1200, 300, 300)])
    photo = upload(served, picture, exif=exif, icc_profile=b"profile")
    wish = {"model": "plain", "values": {"happy": 1, "sad": 0}}
    asked = {"id": photo["id"], "faces": {"0": wish, "1": {**wish, "values": {"sad": 1}}}, "kind": "png"}
    status, headers, body = ask(served, "POST", "/api/finished", asked)
    assert status == 200
    assert headers["X-File-Name"] == "a_happy_sad.png"
    made = Image.open(io.BytesIO(body))
    assert made.size == picture.size
    assert made.getexif()[0x010E] == "a portrait"
    assert made.info["icc_profile"] == b"profile"
    pixels = np.asarray(made)
    assert (pixels[450, 550] == [150, 0, 90]).all()
    assert (pixels[450, 1350] == [0, 150, 90]).all()
    assert np.array_equal(pixels[:200], np.asarray(picture)[:200])
    status, _, body = ask(served, "POST", "/api/finished", {**asked, "kind": "jpeg"})
    assert Image.open(io.BytesIO(body)).format == "JPEG"


def test_thumbnails_views_models_and_the_sample(served):
    photo = upload(served, portrait(900, 500, [(100, 60, 90), (600, 100, 60)]))
    status, _, body = ask(served, "POST", "/api/thumbnail", question(photo, face=1))
    assert status == 200
    thumbnail = Image.open(io.BytesIO(body))
    assert thumbnail.width == thumbnail.height
    for face, width in (("", 900), ("&face=1", 168)):
        status, _, body = ask(served, "GET", f"/api/view?id={photo['id']}{face}")
        assert status == 200
        assert abs(Image.open(io.BytesIO(body)).width - width) < 10
    _, _, body = ask(served, "GET", "/api/models")
    assert [model["name"] for model in json.loads(body)["models"]] == ["plain", "other"]
    _, _, body = ask(served, "GET", "/api/model?name=plain")
    (group,) = json.loads(body)["groups"]
    assert [value["word"] for value in group["values"]] == ["neutral", "happy", "sad"]
    assert group["source"] == "neutral"
    assert ask(served, "GET", "/api/sample")[2].startswith(PNG)


def refusal(served, data, name="a.jpg"):
    status, _, body = ask(served, "POST", "/api/photographs", data, X_File_Name=name)
    told = json.loads(body)
    return status, f"{told['what']} {told['advice']}"


def test_what_is_no_picture_is_refused_in_plain_words(served):
    status, words = refusal(served, b"hello, I am no picture at all" * 10)
    assert status == 415
    assert "not a picture" in words
    assert refusal(served, b"")[0] == 422
    status, words = refusal(served, encoded(portrait())[:400])
    assert status == 422
    assert "truncated" in words or "damaged" in words
    status, words = refusal(served, b"\0\0\0\x18ftypmp42" + bytes(64), "film.mp4")
    assert status == 415
    assert "video" in words


def test_a_picture_without_a_face_says_what_to_do(served):
    status, words = refusal(served, encoded(Image.new("RGB", (200, 200))))
    assert status == 422
    assert "No face" in words
    assert "camera" in words


def test_too_large_an_upload_is_refused_before_it_is_read(served, monkeypatch):
    monkeypatch.setattr("lssl.inference.demo.server.MEGABYTES", 0.001)
    monkeypatch.setattr(photographs, "MEGABYTES", 0.001)
    status, words = refusal(served, encoded(portrait(), "BMP"))
    assert status == 413
    assert "too large" in words
    # Chunked: the size is not known in advance.
    connection = http.client.HTTPConnection(*served, timeout=30)
    connection.request("POST", "/api/photographs", iter([bytes(600)] * 4), {"X-LSSL-Token": TOKEN}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_small_file_of_a_huge_picture_is_refused_before_it_is_unpacked(served):
    bomb = encoded(Image.new("1", (12000, 9000)))
    assert len(bomb) < 100_000
    status, words = refusal(served, bomb, "bomb.png")
    assert status == 413
    assert "108 megapixels" in words


def test_faces_that_cannot_be_changed_are_reported(served):
    photo = upload(served, portrait(400, 300, [(20, 20, 200), (300, 200, 20)]))
    assert [bool(face["reason"]) for face in photo["faces"]] == [False, False] or "small" in photo["faces"][1]["reason"]
    status, _, body = ask(served, "POST", "/api/edit", question(photo, face=7))
    assert status == 404


@pytest.mark.parametrize(
    "asked",
    [b"{", b"[]", b"\xff", b"[" * 60000, b"{}", b'{"id": 3}'],
)
def test_malformed_requests_are_refused(served, asked):
    assert ask(served, "POST", "/api/edit", asked)[0] in (400, 404)


@pytest.mark.parametrize("values", [{"happy": 9}, {"happy": -1}, {"happy": "much"}, [], {"happy": None}])
def test_slider_values_out_of_range_are_refused(served, values):
    photo = upload(served, portrait())
    assert ask(served, "POST", "/api/edit", question(photo, values=values))[0] == 400


def test_unknown_names_are_reported(served):
    photo = upload(served, portrait())
    assert ask(served, "POST", "/api/edit", question(photo, values={"bored": 1}))[0] == 422
    assert ask(served, "POST", "/api/edit", question(photo, model="other model"))[0] == 404
    assert ask(served, "POST", "/api/edit", question({"id": "gone"}))[0] == 404
    assert ask(served, "GET", "/api/nothing")[0] == 404


def test_of_many_changes_the_newest_is_drawn(served, editor):
    photo = upload(served, portrait())
    editor.delay = 0.2
    answers = {}

    def change(number):
        asked = question(photo, number=number, values={"happy": number / 10})
        answers[number] = ask(served, "POST", "/api/edit", asked)

    first = threading.Thread(target=change, args=(1,))
    first.start()
    others = [threading.Thread(target=change, args=(number,)) for number in range(2, 9)]
    for thread in others:
        thread.start()
    for thread in (first, *others):
        thread.join(30)
    statuses = {number: status for number, (status, _, _) in answers.items()}
    assert statuses[8] == 200
    assert list(statuses.values()).count(204) >= 4
    patch = np.asarray(Image.open(io.BytesIO(answers[8][2])))
    assert patch[patch.shape[0] // 2, patch.shape[1] // 2, 0] == 120


def test_only_a_few_photographs_are_held(served):
    photos = [upload(served, portrait()) for _ in range(4)]
    assert ask(served, "POST", "/api/edit", question(photos[0]))[0] == 404
    assert ask(served, "POST", "/api/edit", question(photos[3]))[0] == 200
