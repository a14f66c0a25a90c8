"""One rank of a training job: ``python -m yoriai_train.job.worker spec.json``.

Started by :mod:`yoriai_train.job.start`, by itself or under torchrun. On stdout it says what each
step came to (``@step {...}``) and, if it must give up, why (``@error {...}``). Nothing heavy is
imported before the kernel knows that this process must not outlive its launcher: importing torch
takes seconds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from yoriai import YoriaiError
from yoriai_train.job.ends import heed_parent_only, tell
from yoriai_train.settings.spec import Spec


def main() -> int:
    heed_parent_only()
    spec = Spec.model_validate_json(Path(sys.argv[1]).read_bytes())
    import torch

    from yoriai_train.job.loop import run
    from yoriai_train.plan.out_of_memory import advise

    try:
        run(spec)
    except YoriaiError as error:
        tell("error", {"message": error.message, "hint": error.hint})
        return error.exit_code
    except torch.OutOfMemoryError as error:
        first = str(error).partition(". ")[0]
        tell("error", {"message": f"GPU memory ran out ({first})", "hint": advise(spec)})
        return 1
    return 0


def leave(code: int) -> NoReturn:
    """End this process with what it has said and written, and without taking libraries down.

    At that point all is on disk, and threads of libraries still run while the interpreter ends:
    a rank that had trained to the end was seen to die of SIGABRT there, "terminate called without
    an active exception" (torch 2.13, gloo).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
