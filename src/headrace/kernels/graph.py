"""An ONNX graph under construction: one float64 matrix in, one out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.errors import NotCompilableError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

OPSET: Final = 18
IR_VERSION: Final = 10
ML: Final = "ai.onnx.ml"
_LINKS: Final = {"Sigmoid": "sigmoid", "Softmax": "softmax", "Exp": "exp"}
INPUT: Final = "rows"
OUTPUT: Final = "scores"
# Promises of a conversion, relative to scores above 1: of graphs that compute in float64 as the
# original does, of those with a sum in float32, and of originals that themselves use float32.
EXACT: Final = 1e-9
ROUNDED: Final = 1e-6
SINGLE: Final = 1e-5


@dataclass(frozen=True)
class Column:
    """One column of a matrix in the graph.

    Attributes:
        codes: of a column of texts, the code that stands for each text; grows as encoders name
            texts. NaN stands for no text, -1 for one that is not here.
        single: the original keeps it in float32.
    """

    codes: dict[str, int] | None = None
    single: bool = False


@dataclass(frozen=True)
class Block:
    """A float64 matrix in the graph.

    Attributes:
        name: of the tensor, of shape (rows, columns).
        columns: what each column holds.
    """

    name: str
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """How many columns."""
        return len(self.columns)

    @property
    def single(self) -> bool:
        """Whether the original holds the matrix in float32."""
        return bool(self.columns) and all(column.single for column in self.columns)

    def only_numbers(self, step: object) -> Block:
        """The block itself.

        Raises:
            NotCompilableError: it has texts, which the step cannot take here.
        """
        if any(column.codes is not None for column in self.columns):
            raise NotCompilableError(f"{type(step).__name__} is given texts")
        return self


@dataclass
class Graph:
    """Nodes and constants, in the order of execution.

    Attributes:
        ml: version of the ``ai.onnx.ml`` operators. From 5 on trees are in float64 throughout,
            one target a leaf; before, a leaf may have several targets, summed to float32.
        tolerance: the distance of scores that the converters promise.
        notes: choices they made, and why.
        splits: per column, the thresholds of trees that test the column as it comes.
    """

    ml: int = 5
    tolerance: float = EXACT
    notes: list[str] = field(default_factory=list)
    splits: dict[int, list[float]] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    _names: int = 0
    _as_given: set[str] = field(default_factory=lambda: {INPUT})

    def loosen(self, tolerance: float, why: str) -> None:
        """Promise no more than a tolerance."""
        if tolerance > self.tolerance:
            self.tolerance = tolerance
        if why not in self.notes:
            self.notes.append(why)

    def tests(self, rows: str, features: Sequence[int], thresholds: Sequence[float]) -> None:
        """Keep the thresholds of trees for the proof, if their rows are the input."""
        if rows in self._as_given:
            for feature, threshold in zip(features, thresholds, strict=True):
                self.splits.setdefault(feature, []).append(threshold)

    def name(self, stem: str) -> str:
        """A name that nothing has."""
        self._names += 1
        return f"{stem.lower()}_{self._names}"

    def constant(self, values: Any, dtype: Any = "float64") -> str:
        """Add a constant tensor."""
        import numpy as np
        from onnx import numpy_helper

        name = self.name("constant")
        array = np.ascontiguousarray(values, dtype).reshape(np.shape(values))
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operation; the name of its first output."""
        from onnx import helper

        name = self.name(kind)
        node = helper.make_node(kind, list(inputs), [name], name, domain=domain, **attributes)
        self.nodes.append(node)
        return name

    def inline(self, model: onnx.ModelProto, given: Mapping[str, str], output: str) -> str:
        """Add the nodes of another model.

        Args:
            model: its operator versions must be those of this graph.
            given: tensors of this graph for its inputs.
            output: which of its outputs is wanted.

        Raises:
            NotCompilableError: it needs other operator versions.
        """
        for opset in model.opset_import:
            wanted = self.ml if opset.domain == ML else OPSET
            if opset.domain not in ("", ML) or opset.version > wanted:
                raise NotCompilableError(f"its graph needs {opset.domain} {opset.version}")
        prefix = self.name("part")
        names = dict(given)

        def renamed(name: str) -> str:
            return names.get(name, f"{prefix}_{name}") if name else name

        for constant in model.graph.initializer:
            copy = type(constant)()
            copy.CopyFrom(constant)
            copy.name = renamed(constant.name)
            self.constants.append(copy)
        for node in model.graph.node:
            changed = type(node)()
            changed.CopyFrom(node)
            changed.name = renamed(node.name)
            changed.input[:] = [renamed(name) for name in node.input]
            changed.output[:] = [renamed(name) for name in node.output]
            self.nodes.append(changed)
        return renamed(output)

    def columns(self, block: Block, which: Sequence[int]) -> Block:
        """Some columns of a block."""
        if list(which) == list(range(block.width)):
            return block
        at = self.constant(which, "int64")
        return Block(
            self.op("Gather", block.name, at, axis=1),
            tuple(block.columns[index] for index in which),
        )

    def join(self, blocks: Sequence[Block]) -> Block:
        """Blocks side by side; float32 only if all are, as numpy has it."""
        blocks = [block for block in blocks if block.width]
        if not blocks:
            raise NotCompilableError("a step has no columns left")
        if len(blocks) == 1:
            return blocks[0]
        single = all(block.single for block in blocks)
        return Block(
            self.op("Concat", *(block.name for block in blocks), axis=1),
            tuple(replace(c, single=single) for block in blocks for c in block.columns),
        )

    def rounded(self, name: str) -> str:
        """The values as float32 holds them; from its largest on, infinity."""
        from onnx import TensorProto

        short = self.op("Cast", name, to=TensorProto.FLOAT)
        long = self.op("Cast", short, to=TensorProto.DOUBLE)
        if name in self._as_given:
            self._as_given.add(long)
        return long

    def as_single(self, block: Block) -> str:
        """What an original that converts its input to float32 sees."""
        return block.name if block.single else self.rounded(block.name)

    def numbers(self, name: str, width: int, single: bool = False) -> Block:
        """A block of numbers."""
        return Block(self.rounded(name) if single else name, (Column(single=single),) * width)

    def without_link(self, answer: str) -> tuple[str | None, str]:
        """Take back the last node if it is a link function, which the runtime applies.

        Returns:
            Its name or ``None``, and the tensor that it would be applied to.
        """
        last = self.nodes[-1]
        link = _LINKS.get(last.op_type)
        if link is None or list(last.output) != [answer]:
            return None, answer
        return link, self.nodes.pop().input[0]

    def serialized(self, width: int, output: str) -> bytes:
        """The finished graph.

        Args:
            width: columns of the input.
            output: the tensor that is the answer, of shape (rows, scores).
        """
        from onnx import TensorProto, helper

        self.nodes.append(helper.make_node("Identity", [output], [OUTPUT], "answer"))
        graph = helper.make_graph(
            self.nodes,
            "kernel",
            [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, [None, width])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, [None, None])],
            initializer=self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, self.ml)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="headrace"
        )
        return bytes(model.SerializeToString())


def array_of(values: Any) -> npt.NDArray[np.float64]:
    """Float64, C-ordered."""
    import numpy as np

    return np.ascontiguousarray(values, np.float64)
