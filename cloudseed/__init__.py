"""Materials-discovery campaigns that run by themselves.

The package has four independent parts, `proposers`, `surrogate`, `lab_adapters` and `db`, over the
shared ground `crystal`, `errors` and `units`. `loop` is the only part that knows all four.
Importing `cloudseed` loads none of them.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
