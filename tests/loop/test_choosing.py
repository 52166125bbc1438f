"""A campaign chooses by what its file asks for, and records it."""

from tests.loop.labs import InstantLab
from tests.loop.small import spec_of


def test_a_campaign_chooses_by_the_acquisition_and_the_costs_of_its_file(campaign_on, ledger):
    short = {"initial": 4, "batch": 2, "budget": {"experiments": 6}}
    asked = {"acquisition": "upper_confidence_bound", "cost": {"elements": {"O": 3}}}
    with campaign_on(InstantLab(), spec_of(**short, decide=asked)) as campaign:
        campaign.run()
    models = [dict(row.model) for row in ledger.decisions(1)]
    told = [m for m in models if "acquisition" in m]
    assert told
    assert {m["acquisition"] for m in told} == {"upper_confidence_bound"}
    assert {cost for m in told for cost in m["costs"]} <= {1.0, 4.0}
