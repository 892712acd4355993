"""Do the readers of data files keep their memory flat?

    python benchmarks/reading_memory.py [--rows 1000000] [--kinds jsonl csv tsv parquet ...]

Writes a temporary file of each kind with rows of 30 characters and a label, a tenth of the rows
first, then all, and goes through each with `read_texts`, as `predict` does, in a process of its
own. Prints rows, seconds and the peak memory: it is flat where ten times the rows need no more.
A JSON list is not, as its text is held; nor is `prepare` itself, which keeps its rows, for the
audit compares each with all others. Nothing is checked: read the table.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
KINDS = ("jsonl", "jsonl.gz", "csv", "tsv", "txt", "parquet", "arrow", "json", "prepare")
_BATCH_ROWS = 100_000
_READ = """
import sys
from llamafactory_emotion.data.reading import read_texts
from llamafactory_emotion.task import EMOTION
assert sum(1 for row in read_texts(sys.argv[1], task=EMOTION) if row.label) == int(sys.argv[2])
"""


def make_rows(count: int) -> Iterator[tuple[str, str]]:
    """Yield texts of 30 characters, every one different, and their labels."""
    for number in range(count):
        yield f"today row {number:>10} is read".ljust(30, "."), LABELS[number % len(LABELS)]


def write_file(path: Path, count: int) -> None:
    """Write rows in the format that the path's suffix says."""
    rows = make_rows(count)
    if path.suffix in (".parquet", ".arrow"):
        _write_table(path, rows)
        return
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as out:
        out.writelines(_lines(path.suffixes[0], rows))


def _lines(suffix: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    if suffix in (".csv", ".tsv", ".txt"):
        between = {".csv": ",", ".tsv": "\t", ".txt": ";"}[suffix]
        yield from [] if suffix == ".txt" else [f"text{between}label\n"]
        yield from (f"{text}{between}{label}\n" for text, label in rows)
        return
    objects = (json.dumps({"text": text, "label": label}) for text, label in rows)
    if suffix == ".jsonl":
        yield from (f"{one}\n" for one in objects)
        return
    yield f"[{next(objects)}"
    yield from (f",\n{one}" for one in objects)
    yield "]\n"


def _write_table(path: Path, rows: Iterator[tuple[str, str]]) -> None:
    import pyarrow as pa
    from pyarrow import ipc, parquet

    schema = pa.schema({"text": pa.string(), "label": pa.string()})
    opened = parquet.ParquetWriter if path.suffix == ".parquet" else ipc.new_file
    with opened(path, schema) as writer:
        while batch := list(islice(rows, _BATCH_ROWS)):
            columns = dict(zip(schema.names, map(list, zip(*batch, strict=True)), strict=True))
            writer.write_table(pa.table(columns, schema=schema))


def measure(words: list[str]) -> tuple[float, int]:
    """Return the seconds and the peak memory in bytes of a fresh Python process."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{words[1]} failed")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        write_file(options.write, options.rows)
        return
    sizes = (options.rows // 10, options.rows)
    print("kind            rows   seconds   peak MB")
    for kind in options.kinds:
        peaks = []
        for count in sizes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"rows.{'jsonl' if kind == 'prepare' else kind}"
                # A process starts with the peak of its parent, so this one stays small.
                measure([__file__, "--write", str(path), "--rows", str(count)])
                words = ["-c", _READ, str(path), str(count)]
                if kind == "prepare":
                    command = "llamafactory_emotion.prepare"
                    words = ["-m", command, f"train={path}", "name=x", f"dataset_dir={folder}/data"]
                seconds, peak = measure(words)
            peaks.append(peak)
            print(f"{kind:10}{count:>10,} {seconds:9.1f} {peak / 1e6:9.1f}", flush=True)
        bytes_a_row = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
        print(f"{'':10}{bytes_a_row:10.1f} bytes a row more", flush=True)


if __name__ == "__main__":
    main()
