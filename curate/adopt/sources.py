"""clip-retrieval's folders, read in order: vectors and, row for row, their metadata.

Reads ``img_emb/*.npy``, ``text_emb/*.npy`` (`clip-retrieval inference`), ``image.index``,
``text.index`` (`clip-retrieval index`: a file, or a folder with ``populated.index``), and
``metadata/*.parquet``, ``metadata/*.arrow`` or ``metadata.hdf5``. A row's number is its place in
the files sorted by name. Stored vectors are preferred to an index, which gives back what its codes
keep of them. Cost: one pass; a block of rows in memory, and an index as faiss loads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate.errors import UserError
from frenchcat.curate.extras import how_to_install

if TYPE_CHECKING:
    import pyarrow as pa

Vectors = NDArray[Any]
"""(N, D) float32, or float64 where files hold numbers that float32 does not."""
_NUMBERS = "biuf"  # numpy's kinds of what can be a vector's number
_LOSSLESS = ("IndexFlat", "IndexFlatIP", "IndexIVFFlat", "IndexHNSWFlat")


class StoredVectorFiles:
    """Vectors in .npy files."""

    def __init__(self, folder: Path) -> None:
        """Open the files. Raises `UserError` where one is no 2-D array or of another width."""
        self._files = [_array(path) for path in sorted(folder.glob("*.npy"))]
        if not self._files:
            raise UserError(f"{folder} contains no .npy file; give the folder that has the vectors")
        if len({file.shape[1] for file in self._files}) > 1:
            raise UserError(f"the files of {folder} have vectors of several lengths")
        self.dimension = int(self._files[0].shape[1])
        self._starts = np.cumsum([0] + [len(file) for file in self._files])
        self.lossless = True

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, start: int, count: int) -> Vectors:
        """(count, D) float32, as stored; float64 where a file holds such or large integers."""
        parts = [
            file[max(0, start - begin) : max(0, start + count - begin)]
            for file, begin in zip(self._files, self._starts, strict=False)
        ]
        wide = [np.asarray(part, np.result_type(part.dtype, np.float32)) for part in parts]
        return np.concatenate(wide)


class Indexed:
    """Vectors that a faiss index gives back."""

    def __init__(self, path: Path) -> None:
        """Load it. Raises `UserError` where faiss cannot, or the index keeps no vectors."""
        import faiss

        file = path / "populated.index" if path.is_dir() else path
        try:
            # A folder's lists lie beside its index, wherever they were when it was made.
            index = faiss.read_index(str(file), faiss.IO_FLAG_ONDISK_SAME_DIR)
            inner = faiss.try_extract_index_ivf(index)
            if inner is not None:
                inner.make_direct_map()
            if index.ntotal:
                index.reconstruct_n(0, 1)
        except (RuntimeError, AssertionError) as error:
            said = str(error).strip().splitlines()[-1][:120]
            raise UserError(f"{file} gives no vectors back ({said}); give img_emb/ too") from None
        self._index, self.dimension = index, int(index.d)
        self.lossless = type(faiss.downcast_index(index)).__name__ in _LOSSLESS

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def rows(self, start: int, count: int) -> Vectors:
        """(count, D) float32, as far as the index's codes keep them."""
        count = max(0, min(count, len(self) - start))
        return np.asarray(self._index.reconstruct_n(start, count), np.float32)


def vectors(folder: Path, modality: str) -> StoredVectorFiles | Indexed | None:
    """The vectors of `image` or `text` in a clip-retrieval folder; None where there are none."""
    short = "img" if modality == "image" else "text"
    if (folder / f"{short}_emb").is_dir():
        return StoredVectorFiles(folder / f"{short}_emb")
    if (folder / f"{modality}.index").exists():
        return Indexed(folder / f"{modality}.index")
    return None


def metadata(folder: Path) -> Iterator[pa.Table]:
    """The metadata's tables in order. Raises `UserError` where there are none."""
    within = folder / "metadata"
    parquets, arrows = sorted(within.glob("*.parquet")), sorted(within.glob("*.arrow"))
    hdf5 = folder / "metadata.hdf5"
    if parquets:
        return _parquet_tables(parquets)
    if arrows:
        return _arrow_tables(arrows)
    if hdf5.exists():
        return _hdf5_tables(hdf5)
    raise UserError(
        f"{folder} has vectors and no metadata; there must be metadata/*.parquet, "
        "metadata/*.arrow or metadata.hdf5"
    )


def _parquet_tables(paths: list[Path]) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            file = pq.ParquetFile(path)
        except pa.ArrowInvalid as error:
            raise UserError(f"{path} is not a parquet file ({str(error)[:80]})") from None
        for batch in file.iter_batches(10_000):
            yield pa.Table.from_batches([batch])


def _arrow_tables(paths: list[Path]) -> Iterator[pa.Table]:
    import pyarrow as pa

    for path in paths:
        try:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                for number in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(number)])
        except pa.ArrowInvalid as error:
            raise UserError(f"{path} is not an Arrow file ({str(error)[:80]})") from None


def _hdf5_tables(path: Path) -> Iterator[pa.Table]:
    """clip-retrieval's: one HDF5 dataset per column, in the group `dataset`."""
    import importlib

    import pyarrow as pa

    try:
        h5py = importlib.import_module("h5py")  # of an extra
    except ImportError:
        raise UserError(f"reading {path} needs h5py; {how_to_install('hdf5')}") from None
    with h5py.File(path) as file:
        group = file["dataset"]
        count = min((len(group[name]) for name in group), default=0)
        for start in range(0, count, 10_000):
            columns = {name: _plain(group[name][start : start + 10_000]) for name in sorted(group)}
            yield pa.table(columns)


def _plain(values: NDArray[Any]) -> list[Any]:
    found = values.tolist()
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in found]


def _array(path: Path) -> NDArray[Any]:
    try:
        found: Any = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:  # EOFError of an empty file
        raise UserError(f"{path} is no .npy file ({str(error)[:80]}); restore it") from None
    if not isinstance(found, np.ndarray):
        raise UserError(f"{path} is a .npz archive; save its array alone, with numpy.save")
    if found.ndim != 2 or not found.shape[1]:
        raise UserError(
            f"{path} has the shape {found.shape}; vectors have two dimensions, and "
            "at least one number each"
        )
    if found.dtype.kind not in _NUMBERS:
        raise UserError(f"{path} holds {found.dtype}, not real numbers; save vectors as float32")
    return found
