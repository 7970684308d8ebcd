"""OpenVINO, kept from reporting its use: nothing leaves the machine.

`import openvino` alone sends a message to its makers' analytics, through the package
openvino_telemetry. Where that package can't be imported OpenVINO does without, so it is made to look
absent before.
"""

from __future__ import annotations

import sys
from types import ModuleType


def silent_openvino() -> ModuleType:
    """The package openvino. The one way in which this project imports it."""
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
