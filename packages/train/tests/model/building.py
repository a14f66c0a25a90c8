"""One rank that builds its model as a training job does, says what it holds, and ends.

``python building.py SPEC EXPECTED``, under torchrun: a job's specification, and a safetensors file
with the parameters and buffers that the whole model must have. Rank 0 prints, for all ranks, the
names that differ, the bytes of tensors held at most while the model was filled, and what training
would have to hold.
"""

import json
import os
import sys
import weakref
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from yoriai_train.job import loop
from yoriai_train.model import weights
from yoriai_train.settings.spec import Spec


class Held(TorchDispatchMode):
    """Counts the bytes of all tensors that came into being and are still alive."""

    def __init__(self):
        super().__init__()
        self.storages, self.most = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if not isinstance(tensor, torch.Tensor):
                continue
            # A tensor cut by FSDP2 seems to be whole.
            storage = getattr(tensor, "_local_tensor", tensor).untyped_storage()
            if storage.device.type == "cpu":
                self.storages[storage._cdata] = weakref.ref(storage)
        alive = {key: ref() for key, ref in self.storages.items()}
        self.storages = {key: self.storages[key] for key, held in alive.items() if held is not None}
        self.most = max(self.most, sum(s.nbytes() for s in alive.values() if s is not None))
        return made


def whole(tensor):
    """A parameter as it was filled, before there is an optimizer."""
    import deepspeed

    if hasattr(tensor, "full_tensor"):
        return tensor.full_tensor().detach()
    with deepspeed.zero.GatheredParameters([tensor], enabled=hasattr(tensor, "ds_id")):
        return tensor.detach().clone()


def fill(model, spec):
    with Held() as held:
        real(model, spec)
    assert not any(tensor.is_meta for tensor in model.parameters())
    expected = load_file(sys.argv[2])
    pairs = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    found = {name: whole(tensor) for name, tensor in pairs}
    differ = [n for n, t in found.items() if not torch.equal(t, expected.pop(n).to(t.dtype))]
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    told = {
        "differ": differ + list(expected),
        "most": held.most,
        "dtypes": sorted({str(t.dtype) for t in model.parameters()}),
        "tied": tied,
    }
    ranks = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(ranks, told)
    if torch.distributed.get_rank() == 0:
        print(json.dumps(ranks), flush=True)
    torch.distributed.barrier()
    os._exit(0)


real = weights.fill
weights.fill = fill
loop.run(Spec.model_validate_json(Path(sys.argv[1]).read_bytes()))
