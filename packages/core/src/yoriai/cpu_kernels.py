"""Which of torch's two libraries multiplies fp32 matrices faster on this processor.

torch multiplies fp32 matrices with MKL, which keeps its AVX-512 kernels for Intel's processors;
oneDNN, which torch carries too and uses for bf16, looks at the instruction set alone. On an AMD
EPYC with AVX-512 it is more than twice as fast, and no less exact: both add in fp32. There is no
setting of torch for it (aten/src/ATen/native/mkldnn/Matmul.cpp, ``use_mkldnn_matmul``, takes it
for fp32 only at reduced precision), so who wants it calls ``torch.ops.mkldnn._linear_pointwise``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def onednn_is_faster(torch: Any) -> bool:
    """AVX-512 on an AMD processor, and a torch (the module) that has oneDNN's product.

    A rule, not a measurement: a job that is started again must take the same kernels.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "AuthenticAMD" in text and str(torch.backends.cpu.get_cpu_capability()) == "AVX512"
