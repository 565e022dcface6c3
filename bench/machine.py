"""What a benchmark ran on."""

import os
import platform

import psutil


def machine() -> dict[str, str | int]:
    """The machine, for a report."""
    return {
        "cores": os.cpu_count() or 0,
        "memory": psutil.virtual_memory().total,
        "processor": platform.processor() or platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }
