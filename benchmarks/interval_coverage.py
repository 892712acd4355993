"""How often do the intervals of macro-F1 hold the true value? Simulated, for docs/evaluation.md.

A population is a confusion matrix with recalls drawn around `recall` and errors that concentrate
on a few labels; macro-F1 of the population is the true value. Test sets with a fixed number of
rows a label are drawn from it. Compared are the interval of the evaluator (delta method within
labels, Wilson's form), the plain delta method (Takahashi et al., Applied Intelligence 52, 2022)
and percentiles of a bootstrap.

    python benchmarks/interval_coverage.py --samples 1000
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from llamafactory_emotion.metrics.counts import averages, f1_macro_interval

CASES = (
    *((2, 5), (2, 50), (2, 1000), (6, 2), (6, 3), (6, 10), (6, 60), (6, 333), (6, 1000)),
    *((20, 3), (20, 10), (20, 100), (150, 2), (150, 3), (150, 10)),
    *((1000, 2), (1000, 3), (1000, 10)),
)
RECALLS = (0.6, 0.9, 0.98)
_Z = 1.959963984540054


def population(labels: int, recall: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the answer probabilities of each label, of shape (labels, labels + 1)."""
    spread = 0.24 * min(recall, 1 - recall)
    recalls = np.clip(generator.normal(recall, spread, labels), 0.02, 0.995)
    rows = np.zeros((labels, labels + 1))
    for label, hit in enumerate(recalls):
        errors = generator.dirichlet(np.full(labels, 0.3))
        errors[label] = 0
        rows[label, :labels] = (1 - hit) * 0.95 * errors / max(errors.sum(), 1e-300)
        rows[label, labels] = (1 - hit) * 0.05
        rows[label, label] = hit
    return rows / rows.sum(axis=1, keepdims=True)


def plain_delta(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Compute the interval of Takahashi et al.: normal, rows drawn freely."""
    n = counts.sum()
    shares = counts / n
    hits = np.diagonal(shares)
    sums = shares.sum(axis=1) + shares[:, :-1].sum(axis=0)
    inverse = np.divide(2.0, sums, out=np.zeros(len(sums)), where=sums > 0)
    slope = hits * inverse**2 / 2
    gradient = -(slope[:, None] + np.append(slope, 0)[None, :])
    gradient[np.arange(len(sums)), np.arange(len(sums))] += inverse
    gradient /= len(sums)
    variance = ((shares * gradient**2).sum() - (shares * gradient).sum() ** 2) / n
    estimate = float(averages(counts)["f1_macro"])
    half = _Z * float(np.sqrt(max(variance, 0)))
    return estimate - half, estimate + half


def bootstrap(
    counts: NDArray[np.int64], generator: np.random.Generator, *, resamples: int = 1000
) -> tuple[float, float]:
    """Compute the percentiles of macro-F1 over resampled rows."""
    cells = counts.ravel()
    matrices = generator.multinomial(cells.sum(), cells / cells.sum(), size=resamples)
    values = averages(matrices.reshape(-1, *counts.shape))["f1_macro"]
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Simulate and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--samples", type=int, default=1000, help="test sets a line (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    print("| labels | rows a label | recall | ours | its width | plain delta | bootstrap |")
    print("|---|---|---|---|---|---|---|")
    for labels, rows in CASES:
        samples = options.samples if labels < 1000 else options.samples // 10
        for recall in RECALLS:
            shares = population(labels, recall, generator)
            true = float(averages((shares * 1e9).astype(np.int64))["f1_macro"])
            held = np.zeros(3)
            width = 0.0
            for _ in range(samples):
                counts = np.stack([generator.multinomial(rows, one) for one in shares])
                ours = f1_macro_interval(counts)
                assert ours is not None
                width += ours[1] - ours[0]
                drawn = bootstrap(counts, generator) if labels <= 20 else None
                for column, interval in enumerate((ours, plain_delta(counts), drawn)):
                    if interval is not None:
                        held[column] += interval[0] <= true <= interval[1]
            share = [f"{one / samples:.3f}" for one in held]
            print(
                f"| {labels:,} | {rows} | {recall} | {share[0]} | {width / samples:.3f} "
                f"| {share[1]} | {share[2] if labels <= 20 else ''} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
