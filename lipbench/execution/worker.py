# SPDX-License-Identifier: Apache-2.0
"""What does works inside any process: a fork of the local executor, or one that another executor started elsewhere."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lipbench.plugins import bring_installed, import_place

Send = Callable[[dict[str, Any]], None]


class Worker:
    """Does works in this process, one after another; imports torch when it is made.

    Args:
        artifacts: Folder or URL of fits and steps.
        device: A torch device as this process sees it, such as `cpu` or `cuda:0`.
        cpus: Threads of torch and of the libraries behind numpy; fixed for the life of the process.
        places: Plugins that are not installed.
    """

    def __init__(self, *, artifacts: str | Path, device: str, cpus: int, places: Sequence[str] = ()) -> None:
        from lipbench.execution.artifacts import Kept
        from lipbench.execution.mirror import artifacts_at
        from lipbench.execution.surroundings import Surroundings

        _threads(cpus)
        bring_installed()
        for place in places:
            import_place(place)
        self.artifacts, self.device, self._kept = artifacts_at(artifacts), device, Kept()
        self._surroundings = Surroundings()

    def prepare(self, factories: Sequence[str]) -> None:
        """Load components that works to come will use, and what is slow at its first use; what is wrong with one its work will say.

        Args:
            factories: `module:Class` of each, all of them used by every one of these works: none may see what another imports.
        """
        from lipbench.execution.job import warm_up

        for factory in factories:
            with suppress(Exception, SystemExit):
                warm_up(factory)

    def do(self, work: Mapping[str, Any], send: Send) -> None:
        """Do a work and send what comes of it.

        Args:
            work: What `Work.message` gives.
            send: Takes JSON objects, which belong to `Dispatch.message`. Each has `say` and, as `work`, the id: `begin` with
                `cell` (None for what comes before the first one), `note` with `text`, `cell` with an answer, `failed` with
                an `error`, and `done` at the end, with `held`, the artifacts that it has in memory, and `spent`: true where
                this process should do no other work.
        """
        from lipbench.execution.job import Bench, do

        me = os.getpid()

        def say(message: dict[str, Any]) -> None:
            if os.getpid() != me:
                # A process that a component forked: were it to speak or to go on, two would speak for one work.
                os._exit(0)
            # The id is with every message, so that what comes late is not taken for another work's.
            send({**message, "work": work["id"]})

        bench = Bench(
            artifacts=self.artifacts, device=self.device, send=say, kept=self._kept, batch_scale=work.get("batch_scale", 1.0)
        )
        spent = do(bench, work["payload"], work["timeout"])
        # The next work in this process finds it as this one did.
        spent = not self._surroundings.restore() or spent
        say({"say": "done", "held": list(self._kept), "spent": spent})


@functools.cache
def pools() -> Any:
    """The thread pools of the libraries that are loaded when it is first called; to find them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _threads(cpus: int) -> None:
    """Fix the number of threads, which can change the last bits of a sum, and ask torch for deterministic algorithms."""
    import torch

    torch.set_num_threads(cpus)
    pools().limit(limits=cpus)
    # Not use_deterministic_algorithms(warn_only=True), which means the same but imports the compiler, 1.8 s a worker.
    torch.set_deterministic_debug_mode("warn")
    # TF32 would search the network in 10-bit mantissas without saying so.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
