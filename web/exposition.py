"""The metrics of several processes as one page for Prometheus."""

from collections.abc import Mapping


def merge(pages: Mapping[str, bytes]) -> bytes:
    """Each process's samples with the label `process`, those of one metric together.

    Nothing is added up: that is for queries, and a process that starts again begins at zero, which they understand only
    of a series of its own.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    for process, page in sorted(pages.items()):
        heads: list[str] = []
        samples: list[str] = []
        for line in page.decode().splitlines():
            if line.startswith("# HELP "):
                heads, samples = families.setdefault(line.split(" ", 3)[2], ([], []))
            if line.startswith("#"):
                if line not in heads:
                    heads.append(line)
            elif line:
                samples.append(labelled(line, process))
    return "".join(f"{line}\n" for heads, samples in families.values() for line in (*heads, *samples)).encode()


def labelled(line: str, process: str) -> str:
    """A sample with one label more, in front of those it has."""
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{process="{process}",{rest}'
    name, _, value = line.partition(" ")
    return f'{name}{{process="{process}"}} {value}'
