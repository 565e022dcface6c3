"""What only benchmarks need, fetched on first use: Python environments of their own, jars, and programs in Go."""

import hashlib
import shutil
import subprocess
import venv
from pathlib import Path

from bench.rig import BenchError
from devconnect.runner.plan import ROOT

#: Where the environments are kept; the product's own has none of what is in them.
ENVIRONMENTS = ROOT / ".venv-bench"
HERE = Path(__file__).parent


def python_with(name: str, lock: Path) -> Path:
    """The Python of the environment `name`, which has what the lock file names and nothing else.

    Raises:
        BenchError: it can't be made; the message says what pip says.
    """
    folder = ENVIRONMENTS / name
    python, mark = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchError(f"no environment could be made in {folder} ({error})") from None
    install = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--require-hashes"]
    done = subprocess.run([*install, "-r", str(lock)], capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip() or "pip says nothing").splitlines()[-1]
        raise BenchError(f"{lock.name} could not be installed: {why}")
    mark.write_text(wanted)
    return python


def jars(coordinates: str) -> list[str]:
    """The jars of these Maven coordinates.

    Raises:
        BenchError: they can't be fetched.
    """
    import jgo  # noqa: PLC0415  # slow to load, and seldom needed

    try:
        found = [Path(jar) for jar in jgo.build(coordinates).all_jars]
    except Exception as error:  # jgo raises whatever its downloader does
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BenchError(f"no jars from Maven Central: {why}") from None
    if not found or not all(jar.is_file() for jar in found):
        raise BenchError(f"jars of {coordinates} are missing")
    return [str(jar) for jar in found]


def go_program(name: str, source: Path) -> Path:
    """The program that Go makes of this folder, kept until its files change.

    Raises:
        BenchError: there is no Go, or it can't build it; the message says why.
    """
    go = shutil.which("go")
    if go is None:
        raise BenchError("go isn't on PATH")
    folder = ENVIRONMENTS / name
    program, mark = folder / name, folder / "built"
    files = sorted(each for each in source.iterdir() if each.suffix in (".go", ".mod", ".sum"))
    wanted = hashlib.sha256(b"\0".join(each.read_bytes() for each in files)).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return program
    folder.mkdir(parents=True, exist_ok=True)
    command = [go, "build", "-mod=readonly", "-o", str(program), "."]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=source)
    if done.returncode:
        why = (done.stderr.strip() or "go says nothing").splitlines()[-1]
        raise BenchError(f"{name} could not be built: {why}")
    mark.write_text(wanted)
    return program
