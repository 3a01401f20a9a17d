"""Progress on standard error: one line that rewrites itself on a terminal, a line every 15 seconds elsewhere."""
import os
import re
import shutil
import sys
import time

COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")


def clock(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"


class Screen:
    """One line that rewrites itself, with messages above it; without a terminal, a line now and then."""

    def __init__(self):
        self.terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.interval = 0.25 if self.terminal else 15
        self.due = 0

    def progress(self, text, shorter=""):
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + self.interval
        width = shutil.get_terminal_size().columns if self.terminal else 120
        text = shorter if shorter and len(text) > width - 3 else text
        text = text if len(text) <= width - 3 else text[: width - 6] + "..."  # an interrupt's ^C has room
        self.write(f"\r{text}\x1b[K" if self.terminal else f"{text}\n")

    def message(self, text):
        self.write(f"\r\x1b[K{text}\n" if self.terminal else COLOUR.sub("", text) + "\n")
        self.due = 0 if self.terminal else self.due

    def clear(self):
        if self.terminal:
            self.write("\r\x1b[K")

    def write(self, text):
        sys.stderr.write(text)
        sys.stderr.flush()
