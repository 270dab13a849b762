"""The page in a real browser: Chromium, headless."""

import json
import shutil
import time

import pytest
from PIL import Image

from tests.inference.demo.conftest import portrait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'lssl[test]'")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium with chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium, tmp_path):
    """A window of usual size, and an empty folder for downloads."""
    (tmp_path / "downloads").mkdir()
    chromium.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "downloads")}
    )
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1280, "height": 860, "deviceScaleFactor": 1, "mobile": False}
    )
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.get_log("browser")
    return chromium


def until(browser, script, *arguments):
    """Waits until a script returns a true value; returns that."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 120, 0.05).until(lambda _: browser.execute_script(f"return {script}", *arguments))


def find(browser, selector):
    return browser.find_element("css selector", selector)


def open_page(browser, served):
    browser.get(f"http://{served[0]}:{served[1]}/")
    until(browser, "!document.querySelector('#model').disabled")


def upload(browser, path):
    find(browser, "#file").send_keys(str(path))


def saved(tmp_path, picture, name="portrait.png"):
    picture.save(tmp_path / name)
    return tmp_path / name


def colour(browser, x, y):
    """The changed picture's colour at (x, y), as shares of its width and height."""
    return browser.execute_script(
        "const c = document.querySelector('#after');"
        "return [...c.getContext('2d').getImageData(arguments[0] * c.width, arguments[1] * c.height, 1, 1).data]",
        x,
        y,
    )


def painted(browser, red, green):
    """Waits until the middle of the face has a colour."""
    for _ in range(200):
        found = colour(browser, 145 / 300, 105 / 240)
        if abs(found[0] - red) < 3 and abs(found[1] - green) < 3:
            return
        time.sleep(0.05)
    raise AssertionError(f"the face is {found}, not ({red}, {green})")


def slide(browser, word, key, times):
    slider = find(browser, f"input[data-word={word}]")
    for _ in range(times):
        slider.send_keys(key)
    return slider


def test_from_the_upload_to_the_download(browser, served, tmp_path):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, served)
    upload(browser, saved(tmp_path, portrait()))
    until(browser, "!document.querySelector('#studio').hidden")
    # A slider by the keyboard alone.
    slider = slide(browser, "happy", Keys.ARROW_RIGHT, 10)
    painted(browser, 75, 0)
    assert slider.get_attribute("aria-valuetext") == "50 percent"
    # The strip: every expression has its picture, and a click selects that expression alone.
    until(browser, "document.querySelectorAll('.tile img.here').length === 4")
    find(browser, ".tile:nth-child(4)").click()
    painted(browser, 0, 150)
    assert find(browser, "input[data-word=sad]").get_attribute("value") == "100"
    assert find(browser, "input[data-word=happy]").get_attribute("value") == "0"
    # Before and after, by the keyboard.
    split = find(browser, "#split")
    split.send_keys(Keys.ENTER)
    divider = browser.switch_to.active_element
    assert divider.get_attribute("id") == "divider"
    divider.send_keys(Keys.ARROW_LEFT)
    assert divider.get_attribute("aria-valuenow") == "48"
    assert "48%" in find(browser, "#after").value_of_css_property("clip-path")
    split.send_keys(Keys.ENTER)
    # The download.
    find(browser, "#download").click()
    target = tmp_path / "downloads" / "portrait_sad.png"
    for _ in range(200):
        if target.is_file():
            break
        time.sleep(0.05)
    made = Image.open(target)
    assert made.size == (300, 240)
    assert made.getpixel((145, 105)) == (0, 150, 90)
    find(browser, "#reset").click()
    painted(browser, 200, 150)
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_what_is_wrong_is_said_in_plain_words(browser, served, tmp_path):
    open_page(browser, served)

    def told():
        until(browser, "!document.querySelector('#trouble').hidden")
        text = find(browser, "#trouble").text
        find(browser, "#dismiss").click()
        return text

    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    upload(browser, text)
    assert "not a picture" in told()
    upload(browser, saved(tmp_path, Image.new("RGB", (200, 200)), "empty.png"))
    assert "No face was found" in told()
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(41_000_000)
    upload(browser, large)
    assert "too large: 41 MB" in told()


def test_one_of_several_faces_is_chosen_and_each_keeps_its_changes(browser, served, tmp_path):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, served)
    upload(browser, saved(tmp_path, portrait(300, 240, [(100, 60, 90), (220, 150, 60)])))
    until(browser, "document.querySelectorAll('#faces button').length === 2")
    slide(browser, "happy", Keys.ARROW_RIGHT, 10)
    painted(browser, 75, 0)
    find(browser, "#faces button:nth-child(2)").click()
    assert find(browser, "input[data-word=happy]").get_attribute("value") == "0"
    slide(browser, "sad", Keys.ARROW_RIGHT, 20)
    for _ in range(200):
        if colour(browser, 250 / 300, 180 / 240)[:2] == [0, 150]:
            break
        time.sleep(0.05)
    assert colour(browser, 250 / 300, 180 / 240)[:2] == [0, 150]
    painted(browser, 75, 0)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_fits_a_phone_and_follows_light_and_dark(browser, served, tmp_path, width, dark):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": width < 500},
    )
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    open_page(browser, served)
    upload(browser, saved(tmp_path, portrait()))
    until(browser, "!document.querySelector('#studio').hidden")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert (max(json.loads(f"[{ground[4:-1]}]")) < 60) is dark
    # Controls are large enough to touch, and have accessible names.
    small = browser.execute_script(
        "return [...document.querySelectorAll('main button, main select, header select, .slider input')]"
        ".filter((e) => e.offsetParent && e.offsetHeight < 40).map((e) => e.outerHTML)"
    )
    assert small == []
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, select, input')].filter((e) => !(e.labels?.length || "
        "e.textContent.trim() || e.getAttribute('aria-label'))).map((e) => e.outerHTML)"
    )
    assert unnamed == []


@pytest.mark.slow
def test_the_astronaut_smiles_and_is_turned_to_the_front(browser, tmp_path):
    """With the built-in models and dlib."""
    import socket
    import threading

    from lssl.data import detect

    uvicorn = pytest.importorskip("uvicorn", reason="pip install 'lssl[demo]'")
    if not detect.available():
        pytest.skip(detect.EXTRA_MISSING)
    from skimage.data import astronaut

    from lssl.inference.demo.models import offers
    from lssl.inference.demo.server import make_app
    from lssl.inference.demo.studio import Studio

    listening = socket.create_server(("127.0.0.1", 0))
    app = make_app(Studio(offers("3d", "cpu"), detect.find_faces))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        open_page(browser, listening.getsockname()[:2])
        upload(browser, saved(tmp_path, Image.fromarray(astronaut()), "astronaut.png"))
        until(browser, "!document.querySelector('#studio').hidden")
        picture = "document.querySelector('#after').toDataURL()"
        before = browser.execute_script(f"return {picture}")
        find(browser, "input[value=surprised] ~ b").click()
        until(browser, f"{picture} !== arguments[0]", before)
        find(browser, "#frontal").click()
        until(browser, "document.querySelector('#front-picture').naturalWidth >= 192")
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
