"""Charge neutrality against SMACT 4.0.2, whose verdicts on 300 compositions are in a table here.

`smact_validity(formula, oxidation_states_set="icsd24", include_alloys=False)`. SMACT takes every
state that the ICSD has reported of an element, ours the common ones and those that the ICSD has
often: what passes here must pass there, not the other way round.
"""

import csv
from collections import Counter
from pathlib import Path

from pymatgen.core import Composition

from cloudseed.proposers import ChargeNeutrality, Verdict


def test_what_passes_is_valid_by_smact():
    judge = ChargeNeutrality()
    counted: Counter[tuple[Verdict, bool]] = Counter()
    with Path(__file__).with_name("smact-4.0.2.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            atoms = {str(e): int(n) for e, n in Composition(row["formula"]).items()}
            counted[judge.judge(atoms)[0], row["valid"] == "1"] += 1
    passed = counted[Verdict.PASS, True] + counted[Verdict.PASS, False]
    assert passed > 150
    assert counted[Verdict.PASS, False] <= passed // 100
    invalid = counted[Verdict.FAIL, False] + counted[Verdict.PASS, False]
    assert counted[Verdict.FAIL, False] >= 0.98 * invalid
