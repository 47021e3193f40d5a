"""The precision that this machine computes in."""

from typing import Literal

import torch


def computes_in_bfloat16(mixed_precision: Literal["auto", "no", "bf16"]) -> bool:
    """Return whether matrix products are to run in bfloat16, the weights of the adapter staying in float32.

    `auto` says yes where the hardware has instructions for it: a GPU of Ampere or later, a processor with AMX or
    AVX-512 BF16. Elsewhere bfloat16 is emulated, which is slower than float32.
    """
    if mixed_precision != "auto":
        return mixed_precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
