"""An explanation as one HTML file that needs no network; relies on Altair (extra ``report``)."""

from tsfusion.report.page import write_report

__all__ = ["write_report"]
