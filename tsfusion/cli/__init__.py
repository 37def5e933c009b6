"""The command line: ``tsfusion fit``, ``forecast``, ``explain``, ``backtest`` and more."""

from tsfusion.cli.main import main

__all__ = ["main"]
