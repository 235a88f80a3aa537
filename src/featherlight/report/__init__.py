"""Results as one HTML page that needs nothing but itself, and as a picture of the training curves."""

from featherlight.report.check_page import write_check_page
from featherlight.report.corruption_plot import plot_corruptions
from featherlight.report.curves import curves_svg, write_curves
from featherlight.report.facts import CostFacts, LatencyFacts
from featherlight.report.mistakes import Mistake
from featherlight.report.page import write_report
from featherlight.report.texts import LANGUAGES, check_language

__all__ = [
    "LANGUAGES",
    "CostFacts",
    "LatencyFacts",
    "Mistake",
    "check_language",
    "curves_svg",
    "plot_corruptions",
    "write_check_page",
    "write_curves",
    "write_report",
]
