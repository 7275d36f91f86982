"""Ways up and down, against a walk over single versions that shares no code with it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from headrace.catalog import Access, ColumnFlow, Lineage, Operation, Store
from headrace.catalog.reach import Map, Thing, downstream, upstream
from headrace.ids import new_id

from .conftest import NOON

if TYPE_CHECKING:
    from headrace.catalog.operation import How

Version = tuple[str, int, int]  # name, life, version


def table(name: str) -> Thing:
    return Thing("table", f"main.gold.{name}")


@dataclass
class World:
    """Operations that are recorded, and what each version was made of."""

    lineage: Lineage
    minutes: int = 0
    lives: dict[str, int] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    made_of: dict[Version, set[Version]] = field(default_factory=dict)

    def write(self, name: str, mode: str, reads: dict[str, int], *flows: ColumnFlow) -> int:
        """The next version of a table, from these versions of others."""
        self.minutes += 1
        at = NOON + timedelta(minutes=self.minutes)
        version = self.newest.get(name, -1) + 1
        life = self.lives.setdefault(name, 0)
        touched = tuple(Access("table", f"main.gold.{each}", at) for each, at in reads.items())
        self.lineage.record(
            Operation(
                id=new_id("op"),
                kind="write",
                subject=None,
                session_id="s",
                run_id=None,
                started_at=at,
                finished_at=at + timedelta(seconds=1),
                reads=touched,
                writes=(Access("table", f"main.gold.{name}", version),),
                mode=mode,
                flows=flows,
            )
        )
        causes = {(each, self.lives[each], at) for each, at in reads.items()}
        if mode != "overwrite" and version:
            causes.add((name, life, version - 1))
        self.made_of[name, life, version] = causes
        self.newest[name] = version
        return version

    def drop(self, name: str) -> None:
        """The next write makes another table of the name."""
        self.lives[name] += 1
        del self.newest[name]

    def causes(self, start: Version) -> set[Version]:
        """Every version that one was made of, with it."""
        found, waiting = {start}, [start]
        while waiting:
            for each in self.made_of[waiting.pop()] - found:
                found.add(each)
                waiting.append(each)
        return found


def grow(world: World, chance: random.Random, steps: int) -> None:
    """Write at random: appends, merges and overwrites, reads of old versions, tables made anew."""
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        world.write(name, "overwrite", {})
    for _ in range(steps):
        name = chance.choice(names)
        if chance.random() < 0.05:
            world.drop(name)
        sources = [each for each in names if each in world.newest]
        picked = chance.sample(sources, k=min(len(sources), chance.choice([0, 1, 1, 2])))
        reads = {
            each: chance.randint(max(0, world.newest[each] - 2), world.newest[each])
            for each in picked
        }
        first = name not in world.newest
        mode = "overwrite" if first else chance.choice(["append", "append", "merge", "overwrite"])
        world.write(name, mode, reads)


@pytest.fixture
def world(lineage: Lineage) -> World:
    return World(lineage)


@pytest.mark.parametrize("seed", range(6))
def test_ways_are_those_over_single_versions(store: Store, world: World, seed: int) -> None:
    chance = random.Random(seed)
    grow(world, chance, 60)
    for name, version in world.newest.items():
        start = (name, world.lives[name], chance.randint(0, version))
        up = upstream(store, table(name), start[2])
        expected = world.causes(start)
        assert set(up.things) == {table(each) for each, _, _ in expected}
        down = downstream(store, table(name), start[2])
        reached = {each[0] for each in world.made_of if start in world.causes(each)}
        assert set(down.things) == {table(each) for each in reached}
        assert_versions(up, expected)


def assert_versions(found: Map, expected: set[Version]) -> None:
    """The newest version of each thing is exact where its table was made once."""
    for thing, reached in found.things.items():
        name = thing.name.rpartition(".")[2]
        versions = [(life, version) for each, life, version in expected if each == name]
        if len({life for life, _ in versions}) == 1 and reached.last is not None:
            assert reached.last == max(version for _, version in versions)


def test_an_overwritten_version_is_not_followed(store: Store, world: World) -> None:
    for name in "abc":
        world.write(name, "overwrite", {})
    world.write("d", "append", {"a": 0})
    world.write("d", "overwrite", {"b": 0})
    world.write("d", "append", {"c": 0})
    assert set(upstream(store, table("d")).things) == {table("d"), table("b"), table("c")}
    assert set(upstream(store, table("d"), 0).things) == {table("d"), table("a")}
    reached = downstream(store, table("a")).things[table("d")]
    assert (reached.first, reached.last) == (0, 0)


def test_holes_between_versions_stay_holes(store: Store, world: World) -> None:
    """A table that is overwritten each time, and read at some of its versions."""
    for name in "abs":
        world.write(name, "overwrite", {})
    for turn in range(9):
        world.write("s", "overwrite", {"a": 0} if turn in (1, 5) else {"b": 0})
    world.write("t", "append", {"s": 2})
    world.write("t", "append", {"s": 6})
    world.write("u", "append", {"s": 4})
    assert set(upstream(store, table("t")).things) == {table("t"), table("s"), table("a")}
    assert set(downstream(store, table("a")).things) == {table("a"), table("s"), table("t")}
    assert set(downstream(store, table("b")).things) == {table("b"), table("s"), table("u")}


def test_depth(store: Store, world: World) -> None:
    world.write("a", "overwrite", {})
    for before, name in ("ab", "bc", "cd"):
        world.write(name, "overwrite", {before: 0})
    assert set(upstream(store, table("d"), depth=2).things) == {table("d"), table("c"), table("b")}
    assert set(downstream(store, table("a"), depth=1).things) == {table("a"), table("b")}
    (link,) = downstream(store, table("a"), depth=1).links
    assert (link.source, link.target, link.operations) == (table("a"), table("b"), 1)


def flow(column: str | None, source: str | None, how: How = "direct", at: int = 0) -> ColumnFlow:
    return ColumnFlow(column, at, source, how)


@pytest.fixture
def columns(world: World) -> World:
    """a -> b -> c: x from p, y from p and q by a condition, rows filtered by r in the second."""
    world.write("a", "overwrite", {})
    rows = flow(None, None)
    world.write(
        "b", "overwrite", {"a": 0},
        rows, flow("x", "p"), flow("y", "p"), flow("y", "q", "indirect"), flow("z", "r"),
    )  # fmt: skip
    world.write("c", "overwrite", {"b": 0}, rows, flow(None, "z", "indirect"), flow("k", "x"))
    world.write("d", "overwrite", {"b": 0}, rows, flow("n", None))
    world.write("e", "overwrite", {"b": 0}, rows, flow(None, "y", "unknown"))
    world.write("f", "overwrite", {"b": 0})
    return world


def marks(found: Map) -> dict[str, dict[str | None, str]]:
    return {
        thing.name.rpartition(".")[2]: dict(each.columns) for thing, each in found.things.items()
    }


@pytest.mark.usefixtures("columns")
def test_columns_down(store: Store) -> None:
    assert marks(downstream(store, table("a"), columns=["p"])) == {
        "a": {"p": "direct"},
        "b": {"x": "direct", "y": "direct"},
        "c": {"k": "direct"},
        "e": {None: "unknown"},
        "f": {"*": "unknown"},
    }
    assert marks(downstream(store, table("a"), columns=["q"]))["e"] == {None: "unknown"}
    assert marks(downstream(store, table("a"), columns=["r"]))["c"] == {None: "indirect"}
    everything = marks(downstream(store, table("a"), columns=[None]))
    assert everything["d"] == {None: "direct", "n": "direct"}
    assert everything["c"] == {None: "direct", "k": "indirect"}


@pytest.mark.usefixtures("columns")
def test_columns_up(store: Store) -> None:
    assert marks(upstream(store, table("c"), columns=["k"])) == {
        "c": {"k": "direct"},
        "b": {"x": "direct", "z": "indirect", None: "indirect"},
        "a": {"p": "direct", "r": "indirect", None: "indirect"},
    }
    assert marks(upstream(store, table("f"), columns=["any"]))["b"] == {"*": "unknown"}
    links = upstream(store, table("c"), columns=["k"]).links
    pairs = next(link.columns for link in links if link.target == table("c"))
    assert pairs == (
        ("k", None, "indirect"),
        ("k", "x", "direct"),
        ("k", "z", "indirect"),
    )


def test_paths(lineage: Lineage, store: Store) -> None:
    def operation(minute: int, reads: tuple[Access, ...], writes: tuple[Access, ...]) -> None:
        at = NOON + timedelta(minutes=minute)
        made = Operation(new_id("op"), "write", None, "s", None, at, at, reads, writes, "overwrite")
        lineage.record(made)

    raw, out = Access("path", "/data/raw/day=1"), Access("path", "/data/out")
    a, b = (Access("table", f"main.gold.{each}", 0) for each in "ab")
    operation(0, (Access("path", "/data/out/*.csv"),), (Access("table", "main.gold.early", 0),))
    operation(1, (raw,), (a,))
    operation(2, (a,), (out,))
    operation(3, (Access("path", "/data/out/part-0.csv"),), (b,))
    down = downstream(store, Thing("path", "/data/raw"))
    assert table("b") in down.things
    assert table("early") not in down.things
    assert Thing("path", "/data/raw/day=1") in upstream(store, table("b")).things
    assert table("early") in downstream(store, Thing("path", "/data/out")).things


@pytest.fixture
def mlflow(store: Store) -> Callable[[str, str, str], None]:
    """Records a run of a session, five minutes after noon, and the model it logged."""
    with store.begin() as connection:
        for statement in (
            "CREATE TABLE runs (run_uuid TEXT, start_time BIGINT)",
            "CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT)",
            "CREATE TABLE logged_models (model_id TEXT, source_run_id TEXT)",
            "CREATE TABLE model_versions (name TEXT, version INTEGER, source TEXT,"
            " storage_location TEXT, run_id TEXT)",
        ):
            connection.execute(text(statement))

    def add(run: str, session: str, model: str) -> None:
        began = int((NOON + timedelta(minutes=5)).timestamp() * 1000)
        with store.begin() as connection:
            for statement in (
                "INSERT INTO runs VALUES (:run, :began)",
                "INSERT INTO tags VALUES (:run, 'headrace.session_id', :session)",
                "INSERT INTO logged_models VALUES (:model, :run)",
                "INSERT INTO model_versions VALUES (:session, 3, :source, NULL, :run)",
            ):
                values = {"run": run, "began": began, "session": session, "model": model}
                values["source"] = f"models:/{model}"
                used = {name: each for name, each in values.items() if f":{name}" in statement}
                connection.execute(text(statement), used)

    return add


def test_models(lineage: Lineage, store: Store, mlflow: Callable[[str, str, str], None]) -> None:
    """Training by its run, training by its session, and scoring by a name."""
    model, other = "m-" + "1" * 32, "m-" + "2" * 32
    mlflow("run", "elsewhere", model)
    mlflow("notebook", "s", other)
    by_name = Access("model", "models:/s/3")  # the other one, registered

    def operation(minute: int, **facts: object) -> None:
        at = NOON + timedelta(minutes=minute)
        made = Operation(new_id("op"), "train", None, None, None, at, at)
        lineage.record(replace(made, **facts))  # type: ignore[arg-type]

    features = Access("table", "main.gold.features", 0, ("x", "y"))
    operation(1, run_id="run", reads=(features,))
    operation(2, session_id="s", reads=(Access("table", "main.gold.other", 0),))
    operation(6, session_id="s", reads=(Access("table", "main.gold.late", 0),))
    written = (Access("table", "main.gold.predictions", 0),)
    applied = (Access("table", "main.gold.applied", 0),)
    operation(8, kind="write", reads=(by_name,), writes=applied)
    operation(
        7, kind="score", reads=(features, Access("model", f"models:/{model}")), writes=written
    )
    down = downstream(store, table("features"))
    assert set(down.things) == {
        table("features"), Thing("model", model), table("predictions"),
    }  # fmt: skip
    up = upstream(store, Thing("model", other), columns=["*"])
    assert set(up.things) == {Thing("model", other), table("other")}
    assert up.things[table("other")].columns == {"*": "unknown"}
    up = upstream(store, table("predictions"))
    assert {Thing("model", model), table("features")} <= set(up.things)
    assert Thing("model", other) in upstream(store, table("applied")).things
    assert table("applied") in downstream(store, table("other")).things
    by_column = downstream(store, table("features"), columns=["z"])
    assert Thing("model", model) not in by_column.things
