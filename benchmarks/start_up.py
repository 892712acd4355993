"""What the start-up hook adds to every Python start: interleaved runs, with and without.

    python benchmarks/start_up.py [--runs 50]

Makes a bare environment of its own, so that no other package's start-up files are measured.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def bare_environment(folder: Path) -> tuple[Path, Path]:
    """Make an environment that can import the package; give its Python and its start-up file."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    place = "import sysconfig; print(sysconfig.get_path('purelib'))"
    run = subprocess.run([python, "-c", place], check=True, capture_output=True, text=True)
    packages = Path(run.stdout.strip())
    package = packages / "llamafactory_emotion"
    package.mkdir()
    for name in ("__init__.py", "autoload.py"):
        (package / name).write_bytes((SOURCE / "llamafactory_emotion" / name).read_bytes())
    # Installed packages are compiled; so is this one.
    subprocess.run([python, "-m", "compileall", "-q", package], check=True)
    return python, packages / "llamafactory_emotion.pth"


def main() -> None:
    """Measure and print medians in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    runs = parser.parse_args().runs
    line = (SOURCE / "llamafactory_emotion.pth").read_text(encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        python, hook = bare_environment(Path(folder))
        for _ in range(runs):
            for with_hook, measured in seconds.items():
                hook.write_text(line if with_hook else "", encoding="utf-8")
                start = time.perf_counter()
                subprocess.run([python, "-c", "pass"], check=True, env=environment)
                measured.append(time.perf_counter() - start)
    with_it, without = (1000 * statistics.median(seconds[key]) for key in (True, False))
    print(
        f"python -c pass, median of {runs}: {without:.2f} ms without the hook, {with_it:.2f} with"
    )
    print(f"the hook adds {with_it - without:.2f} ms")


if __name__ == "__main__":
    main()
