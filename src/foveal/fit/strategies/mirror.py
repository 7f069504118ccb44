"""May pictures be mirrored? Asked of a head on frozen features, about training pictures held out from it."""

from __future__ import annotations

from foveal.fit.evidence import hold_out
from foveal.fit.head import DEFAULT_STRENGTH, fit_head
from foveal.fit.strategies.base import Work

#: Mirrored pictures keep their label when a network from nothing loses less than this share of its right answers.
MIRROR_LOSS = 0.05
#: Features from ImageNet were made with mirrored pictures, and hardly change: here any loss over chance tells.
_FROZEN_LOSS = 0.005


def mirror_keeps_label(work: Work) -> tuple[bool, str]:
    """Whether, and why; letters and digits do not bear it, photographs mostly do."""
    train = work.split.on("train")
    labels = work.labels(train)
    held = hold_out(train, labels, work.seed)
    if not held.any():
        return False, "too few pictures to ask about it"
    inside, outside = ([p.record for p, h in zip(train, held, strict=True) if h == side] for side in (False, True))
    width = work.features.backbone.dimension
    plain = work.features.run([*inside, *outside], clock=work.clock)
    mirrored = work.features.run(outside, view="mirror", clock=work.clock)
    if any(r.sha256 not in plain.rows for r in (*inside, *outside)) or len(mirrored.rows) < len(outside):
        return False, "no time to ask about it"
    head = fit_head(plain.of(inside)[None, :, :width], labels[~held], DEFAULT_STRENGTH)
    right, turned = (
        float((head.logits(t.of(outside)[:, :width]).argmax(axis=1) == labels[held]).mean())
        for t in (plain, mirrored)
    )
    words = f"a head names {right:.1%} of {len(outside)} held-out pictures rightly, mirrored {turned:.1%}"
    return turned >= right - max(_FROZEN_LOSS, 1.01 / len(outside)), words
