"""A study of milliseconds: draws marbles, with a control, a point that needs another, and waits.

`TINY_WAITS` [s] makes every point slower, `TINY_FAILS` names points that fail.
"""

import os
import time

import numpy as np

from evsim.gradients.studies import Study


class Tiny(Study):
    name = "tiny"
    paper = "Z: Fig 1"
    title = "whether larger urns hold more marbles"

    def points(self, quick):
        urns = ["small", "large"] if quick else ["small", "large", "huge"]
        return [{"urn": urn, "share": share} for urn in urns for share in (0.5, 0.9)]

    def compute(self, point, work):
        time.sleep(float(os.environ.get("TINY_WAITS", "0")))
        if point["urn"] in os.environ.get("TINY_FAILS", "").split():
            raise ValueError(f"the {point['urn']} urn is broken")
        n = 20 if work.quick else 200
        rng = work.generator()
        marbles = rng.normal(size=3) + (0 if work.needed is None else work.needed.measured["n"])
        return {
            "right": int((rng.random(n) < point["share"]).sum()),
            "n": n,
            "mbit": np.float64(0.1),
            "marbles": marbles,
            "process_seconds": time.process_time(),
        }

    def control(self, point):
        return None if point["urn"] == "small" else {**point, "urn": "small"}

    def needs(self, point):
        return {**point, "urn": "large"} if point["urn"] == "small" else None

    def published(self, point):
        return "90 %" if point["share"] == 0.9 else None

    def verdict(self, table):
        return [f"as published: {len(table.where(share=0.9))} urns"]


STUDY = Tiny()
