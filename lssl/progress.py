"""The progress bar of every command: tqdm's, by a clock that no change of the computer's time moves."""

import time
from typing import Any

from tqdm import tqdm as _Bar


class tqdm(_Bar):
    """As tqdm, but its times are from a steady clock, so that none is negative and no bar stands still after a jump."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.disable:
            self._time = time.monotonic
            self.last_print_t = self.start_t = time.monotonic()
