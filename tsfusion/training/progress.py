"""Progress of a fit on standard error, quiet when that is no terminal; a Keras callback."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

import keras

__all__ = ["Progress"]


class Progress(keras.callbacks.Callback):
    """One line that is written over: epoch, losses, time left.

    Parameters
    ----------
    epochs : int
        The most epochs there can be.
    verbose : int, default=1
        1: a line that is written over, on a terminal only; 2: one line an epoch, anywhere.
    stream : text stream, default=None
        Where to; None for standard error.
    name : str, default=""
        What is trained, where it is one of several.
    """

    def __init__(
        self, epochs: int, verbose: int = 1, stream: TextIO | None = None, name: str = ""
    ) -> None:
        super().__init__()
        self.epochs = epochs
        self.name = name
        self.verbose = verbose
        self.stream = sys.stderr if stream is None else stream
        self.line = verbose == 1 and self.stream.isatty()
        self.width = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start the clock."""
        self.begin = time.monotonic()
        if self.line:
            self._show("tsfusion: preparing the model ...")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Show where in the epoch we are, twice a second at most."""
        if self.line and time.monotonic() - getattr(self, "shown", 0.0) > 0.5:
            done = (self.epoch * self.params["steps"] + batch + 1) / (
                self.epochs * self.params["steps"]
            )
            self._show(self._text(self.epoch, logs or {}, done))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Note the epoch."""
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Show the losses of the epoch."""
        text = self._text(epoch, logs or {}, (epoch + 1) / self.epochs)
        if self.line:
            self._show(text)
        elif self.verbose >= 2:
            print(text, file=self.stream, flush=True)

    def on_train_end(self, logs: dict | None = None) -> None:
        """End the line."""
        if self.line:
            print(file=self.stream, flush=True)

    def _text(self, epoch: int, logs: dict[str, Any], done: float) -> str:
        losses = "  ".join(
            f"{name} {float(logs[name]):.4f}" for name in ("loss", "val_loss") if name in logs
        )
        gone = time.monotonic() - self.begin
        left = gone * (1 - done) / max(done, 1e-9)
        return (
            f"tsfusion: {self.name}epoch {epoch + 1}/{self.epochs}  {losses}  "
            f"{gone:.0f} s, at most {left:.0f} s left"
        )

    def _show(self, text: str) -> None:
        self.shown = time.monotonic()
        self.stream.write("\r" + text.ljust(self.width))
        self.stream.flush()
        self.width = len(text)
