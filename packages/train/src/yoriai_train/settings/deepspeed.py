"""Lightning's DeepSpeedStrategy with what it and DeepSpeed get wrong put right.

Written against Lightning 2.6.6 and DeepSpeed 0.19.8. Importing this module imports both: seconds.
"""

import os
from typing import Any

import deepspeed
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy


class MendedDeepSpeedStrategy(DeepSpeedStrategy):
    """Divides the loss by the accumulation steps once; restores the whole optimizer."""

    def backward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Tell DeepSpeed not to divide: Lightning has done so.

        Lightning divides in ``loops/optimization/automatic.py``, DeepSpeed again in
        ``engine.backward``. With k steps accumulated, gradients are k times too small and a
        clipping threshold of 1 acts like one of k; Adam hides it from a casual look.
        """
        return super().backward(*args, scale_wrt_gas=False, **kwargs)

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Restore what DeepSpeed loses of a universal checkpoint in stage 3.

        It gives the options of the first parameter group to all of them, so that norms decay, and
        one tensor as ``step`` to all its sub-groups, so that each counts for all (``runtime/zero/
        stage3.py``, ``load_hp_checkpoint_state_from_checkpoint_dir_stage3``). Here the options are
        those of this run, and every state has its own ``step``, on the device of its parameter,
        where the fused kernel reads it.
        """
        engine: Any = self.deepspeed_engine
        if not engine.load_universal_checkpoint():
            return super().load_checkpoint(*args, **kwargs)
        optimizer = engine.optimizer.optimizer
        groups = [{**group} for group in optimizer.param_groups]
        client_state = super().load_checkpoint(*args, **kwargs)
        for group, own in zip(optimizer.param_groups, groups, strict=True):
            group.update((key, own[key]) for key in own if key != "params")
        for parameter, state in optimizer.state.items():
            if isinstance(state.get("step"), torch.Tensor):
                state["step"] = state["step"].clone().to(parameter.device)
        return client_state


class CPUDeepSpeedStrategy(MendedDeepSpeedStrategy):
    """The same without the check for CUDA, over gloo: for tests and small machines."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # deepspeed/comm/torch.py builds a C++ shared-memory op when gloo starts: four minutes,
        # and a build that is killed leaves a lock in ~/.cache/torch_extensions that hangs every
        # later run.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        super().__init__(*args, **kwargs)

    def setup_environment(self) -> None:
        """Give devices an index and a count, and skip the isinstance check.

        Lightning (``_validate_device_index_selection``) and ``deepspeed.initialize`` need the
        index; DeepSpeed's ``device_count`` counts NUMA nodes unless LOCAL_SIZE is set.
        """
        count = len(self.parallel_devices or ())
        self.parallel_devices = [torch.device("cpu", index) for index in range(count)]
        os.environ["LOCAL_SIZE"] = str(count)
        super(DeepSpeedStrategy, self).setup_environment()
