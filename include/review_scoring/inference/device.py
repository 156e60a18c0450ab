"""The device (CUDA, MPS or CPU) and the precision (float32, bfloat16 or float16) of the model; out-of-memory errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from review_scoring.errors import ConfigurationError

AMPERE = (8, 0)
"""CUDA compute capability from which bfloat16 runs on tensor cores."""


@dataclass(frozen=True)
class Device:
    """A torch device, and the dtype of the model's weights on it."""

    device: torch.device
    dtype: torch.dtype

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy a tensor to the device. The copy to CUDA is asynchronous: the next batch is built meanwhile."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return f"{name} {str(self.dtype).removeprefix('torch.')}"


def pick_device(device: str = "auto", precision: str = "auto") -> Device:
    """Choose a device and a precision.

    :param device: `auto` for the first available of cuda, mps and cpu, or a torch device such as `cuda:1`
    :param precision: `auto` for the fastest one on the device, `float32`, `bfloat16` or `float16`
    :raises ConfigurationError: for a device that is not available or an unknown precision
    """
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        chosen = torch.device(kind)
    else:
        chosen = _device_named(device)
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision != "auto" and precision not in dtypes:
        raise ConfigurationError(f"precision is {precision!r}; it must be one of auto, {', '.join(dtypes)}")
    return Device(chosen, _fast_dtype(chosen) if precision == "auto" else dtypes[precision])


def _device_named(device: str) -> torch.device:
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError):
        raise ConfigurationError(
            f"device {device!r} is not available; set device='auto', or run this task on a worker that has it"
        ) from None
    return chosen


def _fast_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware supports it, float16 on older CUDA devices, otherwise float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= AMPERE else torch.float16
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return torch.float32


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error means that the device or the machine ran out of memory."""
    # Raised by MPS, by two CPU allocators, and by cuBLAS, which allocates its workspace outside torch's allocator.
    words = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def free_memory(device: Device) -> None:
    """Empty torch's memory cache, so that a smaller batch can use all of the memory."""
    if device.device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.device.type == "mps":
        torch.mps.empty_cache()
