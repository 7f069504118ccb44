"""The page in a real browser: drop, sort, filter, correct, download; by keyboard, enlarged, by axe-core's rules."""

import base64
import csv
import json
import shutil

import pytest

import pictures
from browsing import RULES
from served import TOKEN, serving

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    with serving(trained[0], corrections=str(tmp_path_factory.mktemp("corrections") / "new")) as running:
        yield running


@pytest.fixture
def page(browser, served):
    """The first page, opened with the token; any error in a script fails the test."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(f"{served.url}/#token={TOKEN}")
    playwright.expect(opened.locator("#lead")).to_contain_text("ant, bee, cat")
    yield opened
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def images(photos, tmp_path_factory):
    """Files of two classes, and one that is no image."""
    folder = tmp_path_factory.mktemp("chosen")
    for name in ("bee", "ant"):
        for path in sorted((photos / name).iterdir())[:2]:
            shutil.copy(path, folder / f"{name}-{path.name}")
    (folder / "zebra.jpg").write_bytes(b"no image")
    return sorted(map(str, folder.iterdir()))


def choose(page, files):
    page.set_input_files("#files", files)
    playwright.expect(page.locator("#status")).to_contain_text("done", timeout=30_000)


def names(page):
    return page.locator("#rows th button").all_inner_texts()


def test_dropped_images_are_answered(page, photos):
    content = base64.b64encode((photos / "cat" / "000.jpg").read_bytes()).decode()
    page.evaluate(
        """async (content) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "dropped.jpg", { type: "image/jpeg" }));
            const drop = new DragEvent("drop", { dataTransfer: data, bubbles: true });
            document.querySelector("#intake").dispatchEvent(drop);
        }""",
        content,
    )
    playwright.expect(page.locator("#rows tr")).to_contain_text(["dropped.jpg"])
    playwright.expect(page.locator("#detail h2")).to_have_text("cat")


def test_pasted_images_are_answered(page):
    content = base64.b64encode(pictures.encoded(pictures.draw(3))).decode()
    page.evaluate(
        """(content) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        content,
    )
    playwright.expect(page.locator("#status")).to_contain_text("1 image done")


def test_rows_are_sorted_and_filtered(page, images):
    choose(page, images)
    page.get_by_role("button", name="Prediction", exact=True).click()
    playwright.expect(page.locator("#sort-label")).to_have_attribute("aria-sort", "ascending")
    playwright.expect(page.locator("#rows tr").first).to_contain_text("ant-")
    page.get_by_role("button", name="Prediction", exact=True).click()
    playwright.expect(page.locator("#sort-label")).to_have_attribute("aria-sort", "descending")
    playwright.expect(page.locator("#rows tr").first).to_contain_text("zebra.jpg")
    page.locator("#filter-name").fill("BEE")
    playwright.expect(page.locator("#rows tr")).to_have_count(2)
    page.locator("#filter-name").fill("")
    page.locator("#filter-label").select_option("ant")
    playwright.expect(page.locator("#rows tr")).to_have_count(2)
    page.locator("#filter-label").select_option("")
    page.locator("#filter-kind").select_option("error")
    playwright.expect(page.locator("#rows tr")).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    playwright.expect(page.locator("#results")).to_be_hidden()


def test_what_is_shown_is_downloaded(page, images, tmp_path):
    choose(page, images)
    page.locator("#filter-name").fill("a")
    playwright.expect(page.locator("#rows tr")).to_have_count(3)
    for button, name in (("Download CSV", "predictions.csv"), ("Download JSON", "predictions.json")):
        with page.expect_download() as loaded:
            page.get_by_role("button", name=button).click()
        assert loaded.value.suggested_filename == name
        loaded.value.save_as(tmp_path / name)
    with (tmp_path / "predictions.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["name"] for row in rows] == names(page)
    assert [row["label"] for row in rows] == ["ant", "ant", ""] and rows[2]["error"] == "not_a_picture"
    answers = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert [a["name"] for a in answers] == names(page) and answers[0]["topk"][0]["label"] == "ant"
    assert float(rows[0]["probability"]) == answers[0]["probability"]


def test_a_mistake_is_corrected(page, images, served):
    choose(page, images[:1])
    page.get_by_text("This is wrong").click()
    page.get_by_label("The right label").select_option("cat")
    page.get_by_role("button", name="Store the correction").click()
    playwright.expect(page.locator("#rows tr")).to_contain_text(["corrected: cat"])
    folder = served.service.corrections.folder
    with (folder / "corrections.csv").open(newline="") as lines:
        [row] = csv.DictReader(lines)
    assert row["label"] == "cat"
    with open(images[0], "rb") as original:
        assert (folder / row["path"]).read_bytes() == original.read()


def test_a_page_without_the_token_asks_for_it(browser, served, images):
    page = browser.new_page()
    page.goto(served.url)
    choose(page, images[1:2])
    page.get_by_text("This is wrong").click()
    page.get_by_label("The token that foveal printed").fill("wrong-token-of-this-test")
    page.get_by_role("button", name="Store the correction").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("token")
    page.close()


def test_the_token_leaves_the_address(page, served):
    assert page.url == f"{served.url}/"


def test_everything_is_reached_by_keyboard(page, images):
    choose(page, images[:2])
    reached = set()
    page.locator("body").click(position={"x": 2, "y": 2})
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText || document.activeElement.id"))
    wanted = {"Choose images", "Take a photo", "Download CSV", "Clear", "filter-name", "Heat map", "This is wrong"}
    assert wanted <= reached
    assert set(names(page)) <= reached
    row = page.locator("#rows th button").nth(1)
    row.focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#detail")).to_contain_text(names(page)[1])


@pytest.mark.parametrize(
    ("width", "height"), [(1280, 800), (640, 400), (360, 740)], ids=["desktop", "200 %", "phone"]
)
def test_nothing_is_cut_off(browser, served, images, width, height):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{served.url}/#token={TOKEN}")
    choose(page, images)
    for path in (None, "/run", "/docs"):
        if path:
            page.goto(served.url + path)
            playwright.expect(page.locator("h2").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, served, images, axe, scheme):
    page = browser.new_page(color_scheme=scheme, reduced_motion="reduce")
    found = {}

    def check(view):
        page.evaluate(axe)
        rules = RULES if scheme == "light" else {"type": "rule", "values": ["color-contrast"]}
        violations = page.evaluate("(rules) => axe.run(document, { runOnly: rules })", rules)["violations"]
        found.update({f"{view}: {v['id']}": [n["html"][:150] for n in v["nodes"]] for v in violations})

    page.goto(f"{served.url}/#token={TOKEN}")
    playwright.expect(page.locator("#lead")).to_contain_text("ant")
    check("empty")
    choose(page, images)
    page.get_by_text("This is wrong").click()
    check("answers")
    page.get_by_role("button", name="zebra.jpg").click()
    check("not readable")
    for path in ("/run", "/docs"):
        page.goto(served.url + path)
        playwright.expect(page.locator("h2").first).to_be_visible()
        check(path)
    page.close()
    assert found == {}
