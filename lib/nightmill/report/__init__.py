"""The morning report of a night: one self-contained HTML file, out of the lake's tables alone."""

from nightmill.report.stage import Reported, write_report

__all__ = ["Reported", "write_report"]
