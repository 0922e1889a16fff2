"""The boundary: every error becomes one line on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from modelhandoff.cli.kubectl.problem import Code, Trouble

DEBUG = "KUBECTL_HANDOFF_DEBUG"
"""Set to see the stack of a defect."""


def main(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except Trouble as trouble:
        sys.stderr.write(str(trouble).rstrip() + "\n")
        return int(trouble.code)
    except KeyboardInterrupt:
        return Code.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): nothing more to say, also not at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.OK
    except Exception as failure:
        if os.environ.get(DEBUG):
            raise
        told = " ".join(str(failure).split())[:300]
        sys.stderr.write(
            f"this is a defect of kubectl handoff: {type(failure).__name__}: {told}; "
            f"{DEBUG}=1 shows where\n"
        )
        return Code.TROUBLE
    return code


def _run(arguments: Sequence[str]) -> int:
    from modelhandoff.cli.kubectl import quick

    wanted = quick.parse(arguments)
    if wanted is not None:
        quick.run(wanted)
        return Code.OK
    from modelhandoff.cli.kubectl.app import execute

    return execute(arguments)


def run() -> None:
    """Entry point of ``kubectl-handoff``."""
    sys.exit(main(sys.argv[1:]))
