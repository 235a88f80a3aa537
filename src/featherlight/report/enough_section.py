"""What the page of a check shows of learning curves."""

from __future__ import annotations

from featherlight.report.lines import Chart, Line, lines_svg
from featherlight.report.texts import Texts, texts
from featherlight.sources.findings.enough import Enough, LearningCurve

MAX_CLASSES = 20


def enough_facts(enough: Enough | None, say: Texts | None = None) -> dict[str, object]:
    """What the template needs, by default in English; nothing where it was not asked."""
    if enough is None:
        return {"enough": None}
    say = say or texts()
    titles = {
        "more_photos": say("Twice as many photos"),
        "bigger_network": say("The larger network"),
        "cleaner_labels": say("Cleaner labels"),
    }
    chart = Chart(
        say("Accuracy on held-out images"), say("images to train on"), [_line(curve) for curve in enough.curves],
        percent=True, log=True, unit=say("{} images"),
    )  # fmt: skip
    gains = [(titles[name], gain, name == enough.answer) for name, gain in enough.gains.items()]
    return {
        "enough": enough,
        "learning_curves": lines_svg(chart, say) if enough.curves else "",
        "gains": gains,
        "needs": enough.classes[:MAX_CLASSES],
    }


def _line(curve: LearningCurve) -> Line:
    """What was measured, then the forecast."""
    points = [*curve.points, curve.forecast]
    return Line(
        curve.network,
        [point.images for point in points],
        [point.accuracy for point in points],
        [(point.low, point.high) for point in points],
        forecast=1,
    )
