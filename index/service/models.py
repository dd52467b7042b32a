"""What goes in and out of /v1. Names are those of the command line and of index/search.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(max_length=2_000)]
Base64 = Annotated[str, Field(description="A jpg, png or webp file, base64.")]
Address = Annotated[str, Field(max_length=4_096, description="http(s) address of a picture.")]
Numbers = Annotated[list[float], Field(max_length=8_192)]
Key = Annotated[str, Field(max_length=200)]
SelectionName = Annotated[str, Field(max_length=100)]
Expression = Annotated[str, Field(max_length=10_000)]
By = Literal["image", "text"]
ExportFormat = Literal["ndjson", "json", "csv", "parquet", "arrow"]
PARTS = ("text", "picture", "picture_url", "vector", "like")


class RowName(BaseModel):
    """A row of any dataset that is served."""

    model_config = ConfigDict(extra="forbid")

    dataset: Annotated[str, Field(max_length=200)]
    key: Key


class Strict(BaseModel):
    """A body without keys that are not known."""

    model_config = ConfigDict(extra="forbid")


class QueryPart(Strict):
    """One thing to look for: exactly one of text, picture, picture_url, vector, like."""

    text: Text | None = None
    picture: Base64 | None = None
    picture_url: Address | None = None
    vector: Numbers | None = None
    like: Key | RowName | None = Field(
        None, description="The key of a row of the dataset, or a row of another one."
    )

    @property
    def given(self) -> list[str]:
        """The names of the parts that are there."""
        return [name for name in PARTS if getattr(self, name) is not None]


class QueryTerm(QueryPart):
    """A part of a sum of queries."""

    weight: float = Field(1.0, ge=-100, le=100, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one(self) -> QueryTerm:
        if len(self.given) != 1:
            raise ValueError(f"a term has exactly one of {', '.join(PARTS)}")
        return self


class Filters(Strict):
    """Which rows may be found."""

    dataset: str | None = Field(None, max_length=200, description="None: the first one served.")
    by: By = Field("image", description="What is compared: pictures or captions.")
    where: str | None = Field(
        None, max_length=100_000, description="A condition over the columns: width >= 512"
    )
    safe: bool = Field(True, description="Leave out what is judged unsafe.")
    dropped: bool = Field(False, description="Show what a verdict drops.")
    violence: bool = Field(False, description="Let through what looks violent.")
    duplicates: bool = Field(False, description="Show all of a cluster, not one of it.")
    selections: list[SelectionName] = Field(
        default_factory=list, max_length=16, description="Frozen selections; rows are in all."
    )
    outside: list[SelectionName] = Field(
        default_factory=list, max_length=16, description="Frozen selections; rows are in none."
    )
    count_hidden: bool = Field(False, description="Tell why nearer rows are not shown.")
    aesthetic_score: int | None = Field(
        None, ge=0, le=9, description="Move the query to pictures rated so (--ratings)."
    )
    aesthetic_weight: float = Field(0.5, ge=-100, le=100, allow_inf_nan=False)


class Chosen(Strict):
    """What an answer says of each row."""

    columns: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=200, description="Columns of each row beside its key; None: all."
    )


class HitFilters(Filters):
    """Which hits of a query are given."""

    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Leave out hits whose cosine to the query is less."
    )


class Sorting(Strict):
    """In which order rows are given."""

    sort: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="A column; with - before it: greatest first. None: nearest first."
    )
    pool: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Of a query: how many of the nearest are sorted; None: 1,000.",
    )


class Paging(Strict):
    """Where an answer goes on."""

    cursor: str | None = Field(
        None, max_length=2_000, description="`next` of the answer before; all else is the same."
    )


class PictureSearch(HitFilters, Chosen):
    """What stands beside a picture that is sent as it is."""

    k: int = Field(20, ge=1, le=10_000, description="How many hits.")


class Search(QueryPart, HitFilters, Chosen, Sorting, Paging):
    """A query: one part, or a weighted sum of terms."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)
    k: int = Field(20, ge=1, le=10_000, description="How many hits.")
    skip: int = Field(0, ge=0, le=10_000, description="Hits left out at the front: a page's.")
    hybrid: bool = Field(
        False, description="Join in the rows whose captions hold the words of the texts."
    )

    @model_validator(mode="after")
    def _one(self) -> Search:
        if len(self.given) + (self.terms is not None) != 1:
            raise ValueError(f"a query has exactly one of {', '.join(PARTS)}, terms")
        return self


class Browse(Filters, Chosen, Sorting, Paging):
    """Rows without a query."""

    k: int = Field(40, ge=1, le=10_000, description="How many rows.")
    skip: int = Field(0, ge=0, le=100_000_000, description="Rows left out at the front.")


class FacetsRequest(QueryPart, HitFilters):
    """Which columns are counted: of the rows that meet the filters, or of a query's nearest."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)
    k: int = Field(1000, ge=1, le=10_000, description="Of a query: how many of the nearest.")
    facets: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=50, description="Columns; None: those that are usual, where they are."
    )
    bins: int = Field(20, ge=1, le=200, description="Intervals of a number.")
    top: int = Field(10, ge=1, le=1000, description="Texts that are told, the most frequent.")

    @model_validator(mode="after")
    def _one(self) -> FacetsRequest:
        if len(self.given) + (self.terms is not None) > 1:
            raise ValueError(f"a query has exactly one of {', '.join(PARTS)}, terms, or none")
        return self

    @property
    def asks(self) -> bool:
        """Whether there is a query."""
        return bool(self.given) or self.terms is not None


class FacetInterval(BaseModel):
    """An interval of a number: its end belongs to the next one, but for the last's."""

    model_config = ConfigDict(populate_by_name=True)

    least: float = Field(alias="from")
    to: float
    rows: int


class FacetValue(BaseModel):
    """A text, and how many rows have it."""

    value: str
    rows: int


class Facet(BaseModel):
    """How the rows are spread over a column."""

    kind: Literal["number", "text"]
    rows: int = Field(description="That have a value.")
    missing: int = Field(description="That have none.")
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    bins: list[FacetInterval] | None = None
    distinct: int | None = None
    values: list[FacetValue] | None = Field(None, description="The most frequent.")
    others: int | None = Field(None, description="Rows with other texts.")


class FacetsResponse(BaseModel):
    """The facets by column."""

    dataset: str
    index_version: str
    rows: int = Field(description="That were counted.")
    facets: dict[str, Facet]
    took_ms: float


class RowResponse(BaseModel):
    """A row of a dataset; and its other columns, whatever the list brought."""

    model_config = ConfigDict(extra="allow")

    key: str
    url: str | None = None
    caption: str | None = None
    picture: str | None = Field(None, description="Path of the stored picture.")
    thumbnail: str | None = Field(None, description="Path of a small one.")
    stored: bool | None = Field(None, description="False: the dataset has its address alone.")
    copies: int | None = Field(None, description="How many other rows are duplicates of it.")


class HitResponse(RowResponse):
    """A row found."""

    similarity: float = Field(description="Cosine to the query, -1 to 1.")


class SearchSeveral(Search):
    """A query over several datasets, whose hits are ranked together."""

    datasets: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, min_length=1, max_length=64, description="None: all that are served."
    )


class HitOfSeveral(HitResponse):
    """A row found, and where."""

    dataset: str


class SeveralResponse(BaseModel):
    """The answer to a query over several datasets."""

    datasets: list[str]
    hits: list[HitOfSeveral]
    took_ms: dict[str, float]


def _listed(columns: str | None) -> list[str] | None:
    """Names as an address has them, with commas."""
    return None if columns is None else [name for name in columns.split(",") if name]


class LinkedSearch(HitFilters, Sorting, Paging):
    """A search as an address has it."""

    q: Text | None = Field(None, description="A text.")
    like: Key | None = Field(None, description="The key of a row of the dataset.")
    picture_url: Address | None = None
    k: int = Field(20, ge=1, le=10_000, description="How many hits.")
    hybrid: bool = False
    columns: str | None = Field(
        None, max_length=10_000, description="Columns of each row, with commas; none: all."
    )

    @model_validator(mode="after")
    def _one(self) -> LinkedSearch:
        if sum(part is not None for part in (self.q, self.like, self.picture_url)) != 1:
            raise ValueError("a query has exactly one of q, like, picture_url")
        return self

    def search(self) -> Search:
        """The same as a body."""
        fields = self.model_dump(exclude={"q", "columns"}, exclude_none=True)
        return Search.model_validate({**fields, "text": self.q, "columns": _listed(self.columns)})


class LinkedBrowse(Filters, Sorting, Paging):
    """Rows without a query, as an address has them."""

    k: int = Field(40, ge=1, le=10_000, description="How many rows.")
    columns: str | None = Field(
        None, max_length=10_000, description="Columns of each row, with commas; none: all."
    )

    def browse(self) -> Browse:
        """The same as a body."""
        fields = self.model_dump(exclude={"columns"}, exclude_none=True)
        return Browse.model_validate({**fields, "columns": _listed(self.columns)})


class SearchBatch(Strict):
    """Queries that are answered together."""

    queries: list[Search] = Field(min_length=1, max_length=64)


class Embed(QueryPart):
    """What becomes a vector: one part, or a weighted sum of terms."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)

    @model_validator(mode="after")
    def _one(self) -> Embed:
        if len(self.given) + (self.terms is not None) != 1:
            raise ValueError(f"give exactly one of {', '.join(PARTS)}, terms")
        return self


class Embedded(BaseModel):
    """A vector."""

    dataset: str
    model: str
    vector: list[float] = Field(description="Of length one.")


class VectorsOf(Strict):
    """Whose vectors are wanted."""

    keys: list[Key] = Field(min_length=1, max_length=1_000)
    by: By = Field("image", description="The picture's vector, or the caption's.")


class Vectors(BaseModel):
    """Stored vectors, by key."""

    dataset: str
    model: str
    keys: list[str]
    vectors: list[list[float]]


class Export(QueryPart, HitFilters, Chosen):
    """Which rows are written out: those that meet the filters, or a query's nearest."""

    terms: list[QueryTerm] | None = Field(None, min_length=1, max_length=16)
    k: int = Field(1000, ge=1, le=10_000, description="Of a query: how many of the nearest.")
    format: ExportFormat = Field("ndjson", description="Of the answer.")

    @model_validator(mode="after")
    def _one(self) -> Export:
        if len(self.given) + (self.terms is not None) > 1:
            raise ValueError(f"a query has exactly one of {', '.join(PARTS)}, terms, or none")
        return self

    @property
    def query(self) -> Search | None:
        """The query; None: all rows that meet the filters."""
        if not self.given and self.terms is None:
            return None
        fields = self.model_dump(exclude={"format", "columns"}, exclude_none=True)
        return Search.model_validate(fields)


class LinkedExport(HitFilters):
    """An export as an address has it."""

    q: Text | None = Field(None, description="A text; none: all rows that meet the filters.")
    like: Key | None = Field(None, description="The key of a row of the dataset.")
    k: int = Field(1000, ge=1, le=10_000, description="Of a query: how many of the nearest.")
    format: ExportFormat = "ndjson"
    columns: str | None = Field(
        None, max_length=10_000, description="Columns, with commas; none: all."
    )

    @model_validator(mode="after")
    def _one(self) -> LinkedExport:
        if self.q is not None and self.like is not None:
            raise ValueError("a query has exactly one of q, like, or none")
        return self

    def export(self) -> Export:
        """The same as a body."""
        fields = self.model_dump(exclude={"q", "columns"}, exclude_none=True)
        return Export.model_validate({**fields, "text": self.q, "columns": _listed(self.columns)})


class Rename(Strict):
    """Another name of a selection."""

    name: str = Field(max_length=100)


class RemovalRequest(BaseModel):
    """A removal that was logged."""

    number: int
    by: str = Field(description="How it named its rows; undo: it takes another one back.")
    time: str
    note: str
    rows: int
    undoes: int | None = Field(description="The number of the request that it takes back.")
    undone: bool = Field(description="Whether another request takes it back.")


class SearchResponse(BaseModel):
    """The answer to a query."""

    dataset: str
    index_version: str
    hits: list[HitResponse]
    hidden: dict[str, int] = Field(
        description="Of the nearest k rows, how many were left out, by reason."
    )
    took_ms: dict[str, float]
    next: str | None = Field(None, description="The cursor of the next hits; null: no more.")


class BatchResponse(BaseModel):
    """Answers in the order of the queries."""

    answers: list[SearchResponse]


class Browsed(BaseModel):
    """Rows that meet a condition."""

    dataset: str
    index_version: str
    total: int = Field(description="Rows that meet it, before violence and a head are judged.")
    rows: list[RowResponse]
    next: str | None = Field(None, description="The cursor of the next rows; null: no more.")


class Mapped(BaseModel):
    """Where rows lie on the map of their dataset."""

    dataset: str
    index_version: str
    keys: list[str]
    x: list[float] = Field(description="-1 to 1, by key.")
    y: list[float]
    rows: int = Field(description="Rows of the dataset; a large one is shown by some of them.")


class DatasetInfo(BaseModel):
    """A dataset that is served."""

    name: str
    rows: int
    model: str
    dimension: int
    index_version: str
    filters: dict[str, bool] = Field(description="Which filters have something to go by.")


class RuleCounts(BaseModel):
    """What a rule of the verdicts did, in rows."""

    dropped: int = Field(description="As the first rule that dropped them.")
    alone: int = Field(description="That it would drop if it were the only rule.")
    unknown: int = Field(description="For which it is null, so that it did not drop them.")


class CountedColumn(BaseModel):
    """A column that a condition may name."""

    model_config = ConfigDict(extra="allow")

    type: str | None = Field(None, description="DuckDB's.")


class DatasetCounts(BaseModel):
    """A dataset's rows by what became of them: failed, kept, or dropped."""

    name: str
    rows: int
    downloaded: int
    failed: int
    failed_reasons: dict[str, int]
    embedded: int
    kept: int
    dropped: dict[str, int] = Field(description="By reason.")
    indexed: int
    model: str | None
    rules: dict[str, RuleCounts]
    columns: dict[str, CountedColumn]


class ColumnInfo(BaseModel):
    """A column that a condition may name."""

    name: str
    type: str = Field(description="DuckDB's.")


class Columns(BaseModel):
    """What a condition is made of."""

    columns: list[ColumnInfo]
    functions: list[str]


class NewSelection(Filters):
    """Rows to freeze: those that meet `where`, or the hits of `query`, or both."""

    name: str = Field(max_length=100)
    query: Search | None = Field(None, description="Its k nearest rows are chosen from.")
    limit: int | None = Field(None, ge=1, le=100_000_000)
    balance: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="A column: of its values as many rows of each as can be, up to limit."
    )
    weight: Expression | None = Field(
        None, description="How often training draws a row: a number for each."
    )
    label: Expression | None = Field(
        None, description="What a classifier learns: a text for each row, or null."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Which rows a limit keeps.")
    replace: bool = Field(False, description="Whether another selection of the name may be lost.")


class Selected(BaseModel):
    """A frozen selection."""

    dataset: str
    name: str
    rows: int
    digest: str
    sql: str | None = None


class NewDecision(Strict):
    """Rows that are kept or dropped by hand."""

    keep: bool = Field(description="False: they are dropped, with the reason by_hand.")
    keys: list[Key] = Field(min_length=1, max_length=10_000)
    note: str = Field("", max_length=2_000)


class DecisionMade(BaseModel):
    """A decision that was logged."""

    number: int
    keep: bool | None = Field(description="null: it undoes another one.")
    keys: list[str]
    time: str
    note: str
    undoes: int | None = Field(description="The number of the decision that it takes back.")
    undone: bool = Field(description="Whether another decision takes it back.")


class ClusterMember(RowResponse):
    """A row of a cluster."""

    by_hand: bool | None = Field(None, description="Whether somebody keeps or drops it.")


class ListedCluster(BaseModel):
    """Rows that are duplicates of each other."""

    rows: int
    members: list[ClusterMember] = Field(description="The first 200.")


class Clusters(BaseModel):
    """Clusters of duplicates, the largest first."""

    dataset: str
    total: int
    clusters: list[ListedCluster]


class FailedRow(BaseModel):
    """A row of the list without a picture."""

    key: str
    url: str | None
    caption: str | None
    detail: str | None = Field(description="What exactly went wrong, where that is known.")


class Failed(BaseModel):
    """Rows that failed for one reason."""

    dataset: str
    total: int
    rows: list[FailedRow]


class Compared(BaseModel):
    """How two selections overlap, in rows."""

    only: dict[str, int] = Field(description="By selection: rows that the other one lacks.")
    both: int


class Made(Selected):
    """A selection that was frozen now."""

    folder: str | None = Field(description="The dataset's; told at loopback alone.")


class Removal(Strict):
    """What shall go."""

    dataset: str | None = Field(None, max_length=200)
    by: Literal["key", "url", "uid", "sha256", "domain"]
    value: str = Field(min_length=1, max_length=4_096)
    keys: list[Key] = Field(
        default_factory=list, max_length=10_000, description="By key: further rows."
    )
    near: bool = Field(False, description="Near copies of the matching rows, too.")
    note: str = Field("", max_length=2_000)
    shown: int = Field(1_000, ge=0, le=100_000, description="Matches that are listed.")
    confirm: bool = Field(False, description="False: only show what matches.")
    token: str | None = Field(
        None, max_length=100, description="To confirm: that of the preview; its rows must be these."
    )
    total: int | None = Field(
        None, ge=0, description="To confirm more than confirm_rows: how many rows go."
    )


class Matched(BaseModel):
    """A row that a removal names."""

    key: str
    url: str | None
    caption: str | None
    why: str


class RemovalResponse(BaseModel):
    """What a removal did, or would do."""

    removed: bool
    request: int | None = Field(description="Its number in the log.")
    matches: list[Matched] = Field(description="The first `shown`.")
    total: int
    token: str | None = Field(description="Of a preview: what confirms it.")
    confirm_total: bool = Field(description="Whether to confirm it `total` must be sent, too.")


class DrawRequest(Strict):
    """What shall be drawn."""

    prompt: str = Field(max_length=500)
    negative: str = Field("", max_length=500, description="What not to draw.")
    number: int = Field(1, ge=1, le=16, description="Pictures, with seeds from `seed` on.")
    guidance: float = Field(
        3.0, ge=0, le=30, allow_inf_nan=False, description="Weight of the prompt; 0: left out."
    )
    steps: int = Field(20, ge=1, le=200, description="Of the sampler.")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    safe: bool = Field(True, description="Withhold what --safety-head finds.")
    violence: bool = Field(False, description="Let through what --violence finds.")


class Near(BaseModel):
    """A training picture near to a drawn one; by key alone where it may not be shown."""

    key: str
    similarity: float = Field(description="Cosine, -1 to 1.")
    url: str | None = None
    caption: str | None = None
    creator: str | None = None
    licence: str | None = None
    picture: str | None = Field(None, description="Path of the stored picture.")
    thumbnail: str | None = Field(None, description="Path of a small one.")
    stored: bool | None = None


class DrawnPicture(BaseModel):
    """A picture that a model drew."""

    png: str = Field(description="The file with its Content Credentials, base64.")
    made: dict[str, Any] = Field(description="What made it: model, checkpoint, selection, seed …")
    nearest: list[Near] = Field(description="Nearest training pictures, nearest first.")


class Drawing(BaseModel):
    """Pictures that were drawn, not found."""

    dataset: str | None = Field(description="That of the training pictures, where it is served.")
    pictures: list[DrawnPicture]
    withheld: int = Field(description="Pictures that were taken for unsafe or violent.")
    compared: int = Field(description="Training pictures that were compared.")
    about: str = Field(description="What nearness says, and what it does not.")
    took_ms: float


class Health(BaseModel):
    """Whether all is well."""

    status: str
    detail: dict[str, Any] = {}
