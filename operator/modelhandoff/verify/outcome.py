"""How a container of ours says what came of it: an exit status and one line."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, Final, NoReturn

TERMINATION_LOG: Final = Path("/dev/termination-log")
MAX_MESSAGE_BYTES: Final = 4096


class OneLineParser(argparse.ArgumentParser):
    """A parser that refuses by raising: usage and exit are not for a termination message.

    Args:
        refusal: what is raised, with the one line.
    """

    def __init__(self, refusal: type[Exception], **options: Any) -> None:
        super().__init__(**options)
        self._refusal = refusal

    def error(self, message: str) -> NoReturn:
        """Refuse what was given."""
        raise self._refusal(message)


def write_termination_message(line: str, path: Path = TERMINATION_LOG) -> None:
    """Leave the line where Kubernetes shows it as the container's termination message.

    Only an existing file is written to: outside a pod there is none, and none is made. What
    cannot be written is no failure of its own: the line is on the standard streams as well.
    """
    data = line.encode()[:MAX_MESSAGE_BYTES]
    with contextlib.suppress(OSError), path.open("r+b") as file:
        file.truncate(0)
        file.write(data)
