"""The bundled prototypes are parents."""

from cloudseed.proposers import prototype_parents


def test_every_prototype_is_a_crystal_of_its_own():
    parents = prototype_parents()
    assert len(parents) > 250
    assert len({p.name for p in parents}) == len({p.crystal.key for p in parents}) == len(parents)
    named = {p.name: p for p in parents}
    perovskite = named["AB3C_cP5_221_a_c_b"]
    assert perovskite.crystal.root.space_group == 221
    assert "Perovskite" in perovskite.source
    # The library's coordinates are rounded, which raises the symmetry of a few.
    same = sum(
        p.crystal.root.space_group == int(p.name.split("_")[2].split(" ")[0]) for p in parents
    )
    assert same > 0.95 * len(parents)
