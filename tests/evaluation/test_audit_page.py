"""The audit as a page: the images of each finding, one file that asks nothing of any network, whatever names are."""

import re

import numpy as np
import pytest

import pictures
from browsing import RULES, violations
from foveal.cli.main import app as commands
from foveal.data.dataset import audit
from foveal.errors import UsageError
from foveal.evaluation.audit_page import MOST_BYTES, is_audit_page, render_audit

HOSTILE = ('"><img src=x onerror=alert(1)>.png', "\u202egpj.exe.png", "\x1b[31mred.png", "y" * 245 + ".png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes with copies, a conflict, tiny images with hostile names, and one that is broken."""
    made = pictures.make_folder(tmp_path_factory.mktemp("audited"), {"ant": 12, "bee": 12})
    (made / "bee" / "same.jpg").write_bytes((made / "ant" / "001.jpg").read_bytes())
    for number, name in enumerate(HOSTILE):
        (made / "ant" / name).write_bytes(pictures.encoded(pictures.draw(900 + number, (20, 20))))
    (made / "bee" / "broken.png").write_bytes(b"no image")
    return made


@pytest.fixture(scope="module")
def page(folder):
    return render_audit(audit(folder))


def test_every_finding_is_there_with_its_images(folder, page):
    found = audit(folder).findings
    assert {f.code for f in found} >= {"conflicting_labels", "tiny", "not_a_picture"}
    assert page.count('<section class="finding"') == len(found)
    assert page.count("<figure>") == sum(len(group) for finding in found for group in finding.paths)
    assert page.count('<figure><img src="data:image/jpeg;base64,') == page.count("<figure>") - 1
    assert "ant/001.jpg" in page and str(folder / "ant") not in page


def test_names_are_readable_and_harmless(page):
    assert not re.search(r"<script|onerror=alert\(1\)>\.png\"|https?://", page)
    assert "&lt;img src=x onerror" in page and r"\u202egpj.exe.png" in page and r"\x1b[31mred.png" in page
    assert "\u202e" not in page and "\x1b" not in page and "y" * 245 in page


def test_axe_finds_nothing_and_nothing_is_cut_off(browser, axe, page, tmp_path):
    (tmp_path / "audit.html").write_text(page)
    asked = []
    for scheme, width in (("light", 1280), ("dark", 360)):
        opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(f"file://{tmp_path}/audit.html")
        assert violations(opened, axe, RULES) == {}
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        opened.close()
    assert asked and [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_page_of_many_large_findings_stays_small(tmp_path):
    generator = np.random.default_rng(0)
    for label in ("ant", "bee"):
        (tmp_path / label).mkdir()
    for number in range(60):
        noise = pictures.Image.fromarray(generator.integers(0, 256, (140, 140, 3), dtype=np.uint8))
        content = pictures.encoded(noise, "JPEG")
        for label in ("ant", "bee"):
            (tmp_path / label / f"{number}.jpg").write_bytes(content)
    made = render_audit(audit(tmp_path))
    assert len(made) < MOST_BYTES + 200_000
    assert "more; <code>foveal audit --json" in made


def test_the_command_writes_the_page_and_keeps_other_files(folder, tmp_path, capsys):
    out = tmp_path / "audit.html"
    for _ in range(2):  # its own page is replaced
        assert commands(["audit", str(folder), "--html", str(out), "--quiet"], standalone_mode=False) == 1
        assert is_audit_page(out)
    out.write_text("<p>mine</p>")
    with pytest.raises(UsageError):
        commands(["audit", str(folder), "--html", str(out)], standalone_mode=False)
    assert out.read_text() == "<p>mine</p>"
