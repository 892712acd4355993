"""Ninety-three support tickets for five desks, in words of our own: few rows to train on."""

import json
from itertools import product
from pathlib import Path

TICKETS = {
    "billing": (
        ("I was charged twice for", "the invoice is wrong for", "please refund", "why pay for"),
        ("my last order", "the yearly plan", "one cable", "an account I closed", "two spare lamps"),
    ),
    "delivery": (
        ("nobody has brought", "the courier lost", "when will you send", "still waiting for"),
        ("my parcel", "the desk from May", "both boxes", "that replacement", "the missing half"),
    ),
    "login": (
        ("I cannot sign in on", "the code never reaches", "my password fails on", "locked out of"),
        ("my phone", "the new laptop", "your web page", "the tablet at work", "any browser"),
    ),
    "defect": (
        ("there is a crack in", "smoke comes out of", "it rattles inside", "one screw fell off"),
        ("the kettle", "my chair", "that blue lamp", "the second speaker", "this old printer"),
    ),
    "praise": (
        ("thank you so much for", "we all love", "what a pleasure was", "five stars for"),
        ("the quick answer", "your kind driver", "my new chair", "that free upgrade", "the manual"),
    ),
}


def ticket_rows(count: int = 93) -> list[dict[str, str]]:
    """Return tickets in LLaMA-Factory's alpaca format, the desks in turn."""
    by_desk = [
        [
            {"instruction": "Which desk answers this ticket?", "input": f"{a} {b}", "output": desk}
            for a, b in product(*parts)
        ]
        for desk, parts in TICKETS.items()
    ]
    return [row for turn in zip(*by_desk, strict=True) for row in turn][:count]


def write_tickets(folder: Path, **counts: int) -> Path:
    folder.mkdir()
    entries = {}
    for name, count in counts.items():
        (folder / f"{name}.json").write_text(json.dumps(ticket_rows(count)), encoding="utf-8")
        entries[name] = {"file_name": f"{name}.json"}
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder
