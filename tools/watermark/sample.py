"""What the head says of the bundled sample, which it was neither trained on nor chosen by.

Reads the sample and the head, prints how many of its stamped and of its ordinary pictures are
above some thresholds; writes nothing.

    python -m tools.watermark.sample
"""

import tarfile
from urllib.parse import urlsplit

import numpy as np

from frenchcat import sample_data
from frenchcat.curate.score.pictures import decode
from frenchcat.curate.score.watermark.network import Network

THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
BATCH = 16


def main() -> None:
    """Every stored picture once."""
    planted = {
        urlsplit(row["url"]).path.lstrip("/"): row["planted"]
        for row in sample_data.read_list().to_pylist()
    }
    kinds, pictures, names = [], [], []
    with tarfile.open(sample_data.PICTURES) as tar:
        for member in tar:
            file, kind = tar.extractfile(member), planted.get(member.name)
            if file is None or kind not in ("", "watermark"):
                continue
            stored = decode(file.read())
            if stored is not None:
                kinds.append(kind)
                names.append(member.name)
                pictures.append(stored.rgb)
    network = Network()
    parts = [network(pictures[start : start + BATCH]) for start in range(0, len(kinds), BATCH)]
    found, stamped = np.concatenate(parts), np.array([kind == "watermark" for kind in kinds])
    print(f"{stamped.sum()} stamped, {(~stamped).sum()} ordinary pictures")
    for threshold in THRESHOLDS:
        above = found > threshold
        print(
            f"above {threshold}: {above[stamped].sum()} stamped, {above[~stamped].sum()} ordinary"
        )
    print("stamped:", " ".join(f"{value:.2f}" for value in sorted(found[stamped])))
    for row in np.argsort(np.where(stamped, -1, found))[: -1 - 10 : -1]:
        print(f"ordinary {found[row]:.2f} {names[row]}")


if __name__ == "__main__":
    main()
