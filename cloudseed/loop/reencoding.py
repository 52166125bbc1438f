"""Another encoder in the middle of a campaign: labels for its training, and the change to it.

What was measured is written as a table that `cloudseed encoder finetune` reads. A campaign that
goes on with another encoder embeds its pool anew; the change stands in the event log, embeddings
are kept by the encoder's id, and a decision names the one that it was made with.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from cloudseed.db import open_ledger
from cloudseed.errors import EmptyPoolError, EncoderError
from cloudseed.loop.encoders import in_force
from cloudseed.loop.results import in_order_of_arrival, load_results, that_count
from cloudseed.loop.workspace import campaign_of, reading, write_text
from cloudseed.surrogate import CloudEncoder, check_heads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudseed.loop.workspace import Workspace

__all__ = ["change_encoder", "write_labels"]


def write_labels(
    workspace: Workspace, path: Path, columns: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Writes what a campaign measured as a CSV with a column `scope` and one per property.

    Args:
        workspace: The run folder.
        path: The CSV.
        columns: Property -> heading, where it is another.

    Returns:
        The properties, each in its own unit.

    Raises:
        EmptyPoolError: If nothing was measured.
    """
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        results = load_results(ledger, row.id, spec.problem)
        arrived = in_order_of_arrival(that_count(results, spec.sources))
    names = tuple(n for n in spec.problem.measured if any(n in r.measured for r in arrived))
    if not names:
        raise EmptyPoolError(
            f"The campaign {workspace.campaign!r} has measured nothing to learn from.",
            hint="Let it run first.",
        )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["scope", *((columns or {}).get(name, name) for name in names)])
    for result in arrived:
        values = [result.value(name) for name in names]
        writer.writerow([result.candidate.scope, *("" if v is None else repr(v) for v in values)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, out.getvalue())
    return names


def change_encoder(workspace: Workspace, name: str) -> bool:
    """Has a campaign go on with another encoder.

    Args:
        workspace: The run folder.
        name: A shipped name, a folder, or a hub id.

    Returns:
        Whether it is another than the one in force.

    Raises:
        EncoderError: If it cannot be loaded, reads another dialect, or cannot read a candidate.
        InputError: If a head that `surrogate.heads` names is missing.
        CampaignRunningError: If an engine drives the campaign.
    """
    encoder = CloudEncoder.load(name)
    ledger = open_ledger(workspace.ledger_url, create=False)
    try:
        row, spec = campaign_of(ledger, workspace)
        with ledger.claim(row.id) as claim:
            before = CloudEncoder.load(in_force(ledger, row, spec).encoder)
            if encoder.id == before.id:
                return False
            if encoder.dialect != before.dialect:
                raise EncoderError(
                    f"{name} reads the dialect {encoder.dialect!r}, and the campaign's candidates"
                    f" are written in {before.dialect!r}.",
                    hint="Fine-tune the campaign's own encoder.",
                )
            strings = [candidate.scope for candidate in ledger.candidates(row.id)]
            if refused := encoder.refusals(strings):
                raise EncoderError(
                    f"{name} cannot read {len(refused)} of the campaign's candidates.",
                    hint="Fine-tune the campaign's own encoder.",
                )
            if spec.surrogate.prior == "heads":
                check_heads(name, encoder.id, encoder.dimension, spec.surrogate.heads)
            ledger.record_encoder(claim, name, encoder.id)
    finally:
        ledger.close()
    return True
