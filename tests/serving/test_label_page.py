"""The page of `foveal label` in a real browser: by keyboard, enlarged, after a kill, by axe-core's rules."""

import pytest
from test_label import labelling

import pictures
from browsing import RULES, violations
from served import TOKEN

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NAMES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pictures.make_folder(tmp_path_factory.mktemp("unlabelled"), dict.fromkeys(NAMES, 8))


@pytest.fixture
def table(tmp_path):
    return tmp_path / "labels.csv"


def opened(browser, client, **options):
    """The page with its first group; any error in a script fails the test."""
    page = browser.new_page(**options)
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(f"{client.base_url}/#token={TOKEN}")
    playwright.expect(page.locator(".tile").first).to_be_visible()
    return page


def shown(page):
    """Name of each image, and whether it is selected."""
    return page.locator(".tile").evaluate_all("tiles => tiles.map(t => [t.title, t.ariaSelected === 'true'])")


def answered(page, do):
    """Do something that the server answers, and wait until the page shows it."""
    with page.expect_response("**/v1/label/actions"):
        do()
    playwright.expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")


def one_group_by_keyboard(page):
    """What a person does: deselect what differs from the most, then name the rest. The focus is on the images."""
    images = shown(page)
    classes = [name.split("/")[0] for name, _ in images]
    label = max(set(classes), key=classes.count)
    for index, (_, selected) in enumerate(images):
        if selected != (classes[index] == label):
            page.keyboard.press(" ")
        if index + 1 < len(images):
            page.keyboard.press("ArrowRight")
    known = page.locator("#quick button").evaluate_all("all => all.map(b => b.title)")
    if label in known:
        answered(page, lambda: page.keyboard.press(str(known.index(label) + 1)))
    else:
        page.keyboard.press("n")
        page.keyboard.type(label)
        answered(page, lambda: page.keyboard.press("Enter"))


def rows(table):
    return [line.split(",")[:2] for line in table.read_text().splitlines()[1:]]


def test_a_folder_is_labelled_by_keyboard_also_after_a_restart(browser, folder, table):
    with labelling(folder, table) as (_, client):
        page = opened(browser, client)
        assert page.url == f"{client.base_url}/"  # the token leaves the address
        for _ in range(2):
            one_group_by_keyboard(page)
        page.close()
    half = rows(table)
    with labelling(folder, table) as (_, client):
        page = opened(browser, client)
        playwright.expect(page.locator("#undo")).to_be_enabled()
        assert rows(table) == half
        for _ in range(40):
            if page.locator(".tile").count() == 0:
                break
            one_group_by_keyboard(page)
        playwright.expect(page.locator("#finished")).to_contain_text("foveal train")
        page.close()
    assert len(rows(table)) == 24
    assert all(f"/{label}/" in path for path, label in rows(table))


def test_groups_are_split_merged_put_off_and_every_step_undone(browser, folder, table):
    with labelling(folder, table) as (_, client):
        page = opened(browser, client)
        first = shown(page)
        sizes = [len(first)]
        for key in "smlxuuuu":
            answered(page, lambda: page.keyboard.press(key))  # noqa: B023
            sizes.append(len(shown(page)))
        assert sizes[1] < sizes[0]
        playwright.expect(page.locator("#undo")).to_be_disabled()
        assert shown(page) == first
        page.close()


def test_a_wrong_label_is_found_in_the_review_and_given_another(browser, folder, table):
    with labelling(folder, table) as (service, client):
        session = service.session
        numbers = {name: [] for name in NAMES}
        for number, record in enumerate(session.catalog.records):
            numbers[record.path.split("/")[-2]].append(number)
        session.label("bee", numbers["bee"])
        session.label("ant", [*numbers["ant"], numbers["cat"][0]])
        page = opened(browser, client)
        page.locator("#classes button", has_text="ant").click()
        playwright.expect(page.locator("#title")).to_contain_text("ant")
        playwright.expect(page.locator("#apply")).to_be_disabled()
        assert shown(page)[0][0].startswith("cat/")
        page.locator(".tile").first.click()
        page.locator("#name").fill("cat")
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#classes")).to_contain_text("cat")
        assert session.counts() == {"bee": 8, "ant": 8, "cat": 1}
        page.close()


def test_a_page_without_the_token_asks_for_it(browser, folder, table):
    with labelling(folder, table) as (_, client):
        page = browser.new_page()
        page.goto(str(client.base_url))
        page.locator("#token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        playwright.expect(page.locator(".tile").first).to_be_visible()
        page.close()


def test_nothing_is_cut_off_and_axe_finds_nothing(browser, folder, table, axe):
    with labelling(folder, table) as (service, client):
        service.session.label("ant " * 24, [0])
        service.session.label("bee", [1])
        found = {}
        for scheme, width in (("light", 1280), ("dark", 360)):
            page = opened(browser, client, viewport={"width": width, "height": 800}, color_scheme=scheme)
            rules = RULES if scheme == "light" else {"type": "rule", "values": ["color-contrast"]}
            for view in ("group", "review", "help"):
                if view == "review":
                    page.locator("#classes button").first.click()
                    playwright.expect(page.locator("#review-tools")).to_be_visible()
                elif view == "help":
                    page.locator("#help-open").click()
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, width)
                found |= {f"{scheme} {width} {view}: {k}": v for k, v in violations(page, axe, rules).items()}
            page.close()
        assert found == {}
