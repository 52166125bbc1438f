"""What the papers' hashes depend on, and what a user may set."""

from __future__ import annotations

import pytest

from cloudseed.errors import UsageError
from cloudseed.proposers import load_filter, load_proposer, settings_of
from cloudseed.proposers.fixed import FixedList

BUILT_IN = (
    "aliovalent_substitution",
    "evolution",
    "ionic_substitution",
    "partial_substitution",
    "similarity_substitution",
    "site_swap",
)


class Loose:
    """A plug-in that is no dataclass."""

    name = "loose"
    version = "3"

    def __init__(self):
        self.width = 2


def test_the_number_of_workers_is_no_setting():
    one, four = FixedList("list.csv"), FixedList("list.csv", workers=4)
    assert settings_of(one) == settings_of(four)
    assert settings_of(one) != settings_of(FixedList("list.csv", symprec=0.1))


def test_name_and_version_are_settings_wherever_they_are_defined():
    assert settings_of(Loose()) == {"name": "loose", "version": "3", "width": 2}
    assert settings_of(load_proposer("site_swap")) == {
        "cap": 12,
        "name": "site_swap",
        "version": "1",
    }


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("option", ["name", "version"])
def test_nobody_renames_a_proposer(name, option):
    with pytest.raises(UsageError, match="no option"):
        load_proposer(name, {option: "9"})


@pytest.mark.parametrize(
    ("name", "options", "hint"),
    [
        ("partial_substitution", {"cap": 2.5}, "whole number"),
        ("site_swap", {"cap": True}, "whole number"),
        ("evolution", {"elites": 1.5}, "whole number"),
        ("ionic_substitution", {"threshold": "small"}, "a number"),
        ("ionic_substitution", {"merging": 1}, "true or false"),
        ("fixed_list", {"path": 7}, "a text"),
    ],
)
def test_options_are_of_their_kind(name, options, hint):
    with pytest.raises(UsageError, match="cannot be") as caught:
        load_proposer(name, options)
    assert hint in caught.value.hint


def test_a_filters_options_are_of_their_kind_too():
    with pytest.raises(UsageError, match="'mixed_valence'"):
        load_filter("charge_neutrality", {"mixed_valence": "maybe"})
    assert load_filter("minimum_distance", {"factor": 1}).factor == 1.0
