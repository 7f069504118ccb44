"""A finished study as `study.json` stores it, small and invented, for tests of pages and figures."""


def point(x, mean, low=None, high=None, **more):
    return {"x": x, "mean": mean, "low": low, "high": high, "n": 4, **more}


def plot(kind, series, **more):
    fields = {"title": "what it shows", "x": "along", "y": "up", "log_x": False, "log_value": False}
    named = [{"name": name, "points": points} for name, points in series.items()]
    return {"kind": kind, **fields, "unit": "share", "marks": [], "series": named, **more}


DOTS = plot(
    "dots",
    {"": [point("near <b>", 0.02, 0.01, 0.03), point("far", 0.001, -0.01, 0.012)]},
    marks=[(0.0, "no difference"), (0.005, "smallest effect of interest")],
)
LINES = plot(
    "lines",
    {
        "one": [point(10, 0.5, 0.4, 0.6), point(100, 0.8, 0.75, 0.85)],
        "two": [point(10, 0.45), point(100, 0.801, 0.7, 0.9)],
    },
    log_x=True,
)
BARS = plot(
    "bars",
    {"predicted": [point("a", 2e6, None, 2.2e6), point("b", 5e8)], "measured": [point("a", 1.9e6)]},
    unit="bytes",
)
PANELS = plot("dots", {}, panels=[plot("dots", {"": [point("a", 3e6), point("b", 1e6)]}, unit="bytes"), DOTS])


def contrast(name, **more):
    return {
        "name": name, "statement": f"{name} is more", "terms": [], "min_effect": 0.005, "kind": "more",
        "role": "claim", "ratio": False, "unit": "share", **more,
    }  # fmt: skip


def judged(name, mean, low, high, verdict):
    return {"name": name, "n": 4, "mean": mean, "sd": 0.01, "low": low, "high": high, "wide_low": low,
            "wide_high": high, "verdict": verdict, "more": None}  # fmt: skip


def study(verdict="supported", **more):
    analysis = {
        "n": 4, "look": 1, "confidence": 0.95, "verdict": verdict, "more_seeds": None, "plot": LINES,
        "summary": [
            {"arm": "one", "measure": "accuracy", "n": 4, "mean": 0.951, "sd": 0.01, "ci95": [0.94, 0.962]},
            {"arm": "two", "measure": "time", "n": 4, "mean": 2.5, "sd": 0.01, "ci95": [None, None]},
        ],
        "contrasts": [judged("gap", 0.021, 0.017, 0.025, verdict), judged("pace", 2.9, 2.7, 3.1, "supported")],
        "checks": [
            {
                "name": "sum", "statement": "the sum is right", "holds": False, "evidence": "903,400",
                "role": "notebook",
            }
        ],
        "notebook_claims": [{"sentence": "Convolutions <are> faster", "by": ["pace"], "verdict": "not supported"}],
    }  # fmt: skip
    return {
        "schema": 1, "name": "invented", "question": "Why?", "claim": "One is more accurate than two & all others",
        "method": "Seeds are paired.", "verdict": verdict, "more_seeds": None, "seeds": 4, "looks": [4],
        "arms": [{"name": "one", "description": "as it is"}, {"name": "two", "description": "twice"}],
        "equal": [{"what": "macs", "arms": [], "within": 0.02}],
        "measures": [
            {"name": "accuracy", "description": "accuracy on the test images", "unit": "share"},
            {"name": "time", "description": "seconds per step", "unit": "s"},
        ],
        "contrasts": [contrast("gap"), contrast("pace", role="finding", ratio=True, min_effect=1.2)],
        "sizes": {"one": {"parameters": 903400, "macs": 12}, "two": {"parameters": 903400, "macs": 12}},
        "rows": [{"arm": "one", "seed": 0, "seconds": 1.5, "measures": {"accuracy": 0.95, "time": 2.0}}],
        "data": "sample:mnist", "command": "foveal study invented", "seconds": 61.0,
        "machine": {"cpu": "some processor", "cores": 2, "instruction_sets": ["avx2"]},
        "versions": {"foveal": "1", "torch": "2", "python": "3", "system": "Linux"}, "analysis": analysis, **more,
    }  # fmt: skip
