"""Where structures come from: files, lists, databases and the net; each gives `Entry`s."""

from cloudseed.proposers.sources.entries import Entry, sites_task
from cloudseed.proposers.sources.locating import PROTOTYPES, find_entries, is_path

__all__ = ["PROTOTYPES", "Entry", "find_entries", "is_path", "sites_task"]
