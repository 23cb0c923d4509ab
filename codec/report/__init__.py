"""What people look at: a self-contained page to hear, see and measure what a codec does."""

from codec.report.curves import plot_writer
from codec.report.demo import run_demo
from codec.report.page import write_page
from codec.report.units_page import write_units_page

__all__ = ["plot_writer", "run_demo", "write_page", "write_units_page"]
