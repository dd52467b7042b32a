"""The rights ledger: what sites and files say about the use of an image, and what follows.

signal.py      what a signal is, which ones opt out, in which order they are named
headers.py     X-Robots-Tag, Content-Usage, TDM headers, of every hop
sites.py       robots.txt, tdmrep.json, ai.txt
usage.py       the preferences that Content-Usage is written in
metadata.py    XMP, EXIF, IPTC, PNG texts, in the original bytes
provenance.py  C2PA manifests, in the original bytes
site_cache.py  fetches a site's files, once per site, through the same safe fetch

All signals of a row become one decision in curate/download/ledger.py, which writes rights/.
"""

from frenchcat.curate.download.rights.settings import RightsSettings
from frenchcat.curate.download.rights.signal import OPT_OUTS, Signal

__all__ = ["OPT_OUTS", "RightsSettings", "Signal"]
