"""The report in a real browser, for each kind of task: by axe-core's rules, on a phone, with hostile names."""

import numpy as np
import pytest
from test_report import summary_of

from browsing import violations
from foveal.evaluation.classification import measure
from foveal.evaluation.label_sets import measure_label_sets
from foveal.evaluation.report import render_report
from foveal.evaluation.segmentation import MaskPair, measure_masks
from foveal.values import Excluded, Finding, LabelMap

NAMES = ("a\u202egpj", "b\x1b[31m", "c" * 60, "d\udcff")


def measured(kind, folder, draw):
    generator = np.random.default_rng(0)
    paths = []
    for number in range(8):
        paths.append(str(folder / f"{number}\u202egpj.png"))
        draw(number, (40, 30)).save(paths[-1])
    if kind == "labels":
        return measure(generator.dirichlet(np.ones(4), 8).astype(np.float32), np.arange(8) % 4, paths, NAMES)
    if kind == "label-sets":
        answers = generator.random((8, 4), dtype=np.float32)
        targets = generator.integers(0, 2, (8, 4))
        return measure_label_sets(answers, targets, paths, NAMES, np.full(4, 0.5, dtype=np.float32))
    masks = generator.integers(0, 4, (8, 2, 30, 40), dtype=np.uint8)
    return measure_masks(
        [MaskPair(p, p, *m) for p, m in zip(paths, masks, strict=True)], LabelMap(NAMES, (0, 1, 2, 3))
    )


@pytest.mark.parametrize("kind", ["labels", "label-sets", "masks"])
def test_axe_finds_nothing_and_hostile_names_are_readable(browser, axe, tmp_path, draw, kind):
    found = measured(kind, tmp_path, draw)
    near = Finding("near_duplicates", "note", "alike", "nothing", 1, ((str(tmp_path / "0\u202egpj.png"),) * 2,))
    summary = {**summary_of(list(NAMES), str(tmp_path)), "test": found.figures}
    skipped = {"fine-tune/skip": {"value": "no time is left " * 8, "reason": "no time is left"}}
    log = [{"event": "figures", "stage": "t", "step": s, "loss": v} for s, v in ((1, 2.0), (2, 1.0), (3, 0.5))]
    excluded = [Excluded("/p/bad\u202e.png", "no_image", "not an image")]
    page = render_report(summary, found, [near], skipped, excluded=excluded, log=log)
    assert not {"\u202e", "\x1b"} & set(page) and r"\u202egpj" in page and r"\x1b[31m" in page
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    for scheme, width in (("light", 1280), ("dark", 390)):
        opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
        opened.goto(f"file://{tmp_path}/report.html")
        assert violations(opened, axe) == {}
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        opened.close()
