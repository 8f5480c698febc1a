"""GPU cost models: time, power and bytes of tensor-core work, dense and 2:4.

Main entry points::

    load_gpu("h100-sxm") -> GpuMachine      presets: gpu_names(); sources: gpu_sources(name)
    ProductTable.of(m, n, k, batch=1, dtype="bf16", sparsity="dense") -> ProductTable
    predict(table, gpu, *, dense_library="cublas", constants=None, weight_copies=6.0,
            sustained=False) -> Prediction           time_us, watts, memory_bytes, notes, ...
    predict_file(source_csv, gpu, out_csv=None, *, constants=None) -> Prediction
    calibrate(table_csv, gpu, *, out=None) -> tuple[ConstantSet, ...]
    simulate_step(workload, gpu, *, fusion="eager", dtype="bf16", ...) -> GpuRun

The kernel model is in ``kernel``; its constants, fitted per GPU and library and shipped with their
provenance, in ``constants``. Fused ops, attention and optimizers are in ``vector``, convolutions in
``conv``, links between GPUs in ``link``, whole training steps in ``step``. ``bench`` measures the
errors on shapes that a fit has not seen; ``refit`` makes the shipped constants.
"""

from weft.sim.gpu.prediction.constants import ConstantSet, KernelConstants, load_constants
from weft.sim.gpu.prediction.machine import (
    GpuMachine,
    gpu_names,
    gpu_sources,
    is_gpu,
    load_gpu,
    read_gpu,
)
from weft.sim.gpu.prediction.predict import Prediction, ProductTable, predict

__all__ = [
    "ConstantSet",
    "GpuMachine",
    "KernelConstants",
    "Prediction",
    "ProductTable",
    "gpu_names",
    "gpu_sources",
    "is_gpu",
    "load_constants",
    "load_gpu",
    "predict",
    "read_gpu",
]
