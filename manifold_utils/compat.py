"""One repair: importing torchvision beside a CPU build of torch whose torchvision operators do not load.

The registry's torchvision is compiled against a CUDA torch; next to a CPU torch its C++ library is not loaded, and the
import stops with "operator torchvision::nms does not exist". Declaring the schemas of the two operators that it
registers Python kernels for is enough. It provides no kernels: calling nms still fails, and nothing in this project
calls it.
"""

import importlib

MISSING_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_LIBRARIES = []  # a library's declarations vanish when it is collected, so they are kept for the life of the process


def import_torchvision():
    """Import and return torchvision; the missing operators are declared first, only when the import needs it.

    Raises
    ------
    ImportError
        torchvision is not installed, or does not fit the installed torch for another reason.

    Examples
    --------
    >>> import_torchvision().__name__
    'torchvision'
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise ImportError(f"torchvision does not fit the installed torch: {error}") from error
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in MISSING_OPERATORS:
        library.define(schema)
    _LIBRARIES.append(library)
    return importlib.import_module("torchvision")
