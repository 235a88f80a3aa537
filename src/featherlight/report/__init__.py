"""Results as one HTML page that needs nothing but itself, and as a picture of the training curves."""

from featherlight.report.check_page import write_check_page
from featherlight.report.corruption_plot import plot_corruptions
from featherlight.report.curves import curves_svg, write_curves
from featherlight.report.page import Mistake, write_report

__all__ = ["Mistake", "curves_svg", "plot_corruptions", "write_check_page", "write_curves", "write_report"]
