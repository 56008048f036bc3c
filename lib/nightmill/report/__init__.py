"""The morning report of a night: one self-contained HTML file, out of the lake's tables alone."""

from nightmill.report.stage import Reported, is_reported, write_report

__all__ = ["Reported", "is_reported", "write_report"]
