"""Where structures come from: files, lists, databases and the net; each gives `Entry`s."""

from cloudseed.proposers.sources.entries import Entry, sites_task
from cloudseed.proposers.sources.locating import find_entries

__all__ = ["Entry", "find_entries", "sites_task"]
