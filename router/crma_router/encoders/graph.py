"""all-MiniLM-L6-v2 as one ONNX graph for a single text, its matrices in int8.

Owns: the graph (Devlin et al. 2019, arXiv 1810.04805; mean pooling and unit norm as in Reimers and Gurevych
2019, arXiv 1908.10084) and how weights are quantised. Knows nothing of texts, tokens or sessions.

It is made in memory from the weights when an embedder is opened, under a second: nothing can be stale.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

LAYERS = 6
HEADS = 12
SIZE = 384
_EPSILON = 1e-12  # of every layer norm

_ORT = "com.microsoft"  # the operators of ONNX Runtime that fuse what standard ones spell out

# Seven bits, not eight: without VNNI the int8 product adds pairs in 16 bits, which eight bits overflow.
# https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
_LARGEST_INTEGER = 63

Array = npt.NDArray[np.generic]


def build_graph(weights: Path, *, int8: bool = True) -> ModelProto:
    """`ids` (1, T) int32, [CLS] and [SEP] included -> `embedding` (1, 384) float32 of unit norm.

    `weights` is the model's safetensors file. `int8` False keeps the matrices in float32, as a reference.
    """
    graph = _Graph(load_file(weights), int8)
    hidden = graph.embed("ids")
    for layer in range(LAYERS):
        hidden = graph.layer(hidden, f"encoder.layer.{layer}.")
    pooled = graph.node("ReduceMean", [hidden], axes=[1], keepdims=0)
    graph.nodes.append(helper.make_node("LpNormalization", [pooled], ["embedding"], axis=1, p=2))
    return graph.model()


class _Graph:
    """Nodes and constants as they are added; every method returns the name of what it added gives."""

    def __init__(self, weights: dict[str, Array], int8: bool) -> None:
        self.nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._weights = weights
        self._int8 = int8
        self._thirds = self.constant(np.full(3, SIZE, np.int64))

    def model(self) -> ModelProto:
        given = helper.make_tensor_value_info("ids", TensorProto.INT32, [1, "tokens"])
        wanted = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, SIZE])
        graph = helper.make_graph(self.nodes, "minilm", [given], [wanted], self._constants)
        versions = [helper.make_opsetid("", 17), helper.make_opsetid(_ORT, 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=9)

    def node(self, operator: str, inputs: list[str], outputs: int = 1, **attributes: object) -> str:
        """The first output's name; the others' end in .1, .2 ..."""
        name = f"{operator}{len(self.nodes)}"
        names = [name, *(f"{name}.{at}" for at in range(1, outputs))]
        domain = "" if operator in _STANDARD else _ORT
        self.nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return name

    def constant(self, values: Array) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(self._weights[name])

    def embed(self, ids: str) -> str:
        """Token and position vectors, normed. Every token is of the first segment."""
        own = "embeddings."
        places = self._weights[own + "position_embeddings.weight"]
        segment = self._weights[own + "token_type_embeddings.weight"][0]
        norm = [self.weight(f"{own}LayerNorm.{part}") for part in ("weight", "bias")]
        words = self.weight(own + "word_embeddings.weight")
        inputs = [ids, "", words, self.constant(places + segment), "", *norm]
        return self.node("EmbedLayerNormalization", inputs, outputs=2, epsilon=_EPSILON)

    def layer(self, hidden: str, own: str) -> str:
        """One block: attention, then two matrices with GELU between, each added to its input and normed."""
        mixed = self.dense(self.attention(hidden, own + "attention.self."), own + "attention.output.dense.")
        hidden = self.add_and_norm(mixed, hidden, own + "attention.output.LayerNorm.")
        wide = self.node("Gelu", [self.dense(hidden, own + "intermediate.dense.")])
        return self.add_and_norm(self.dense(wide, own + "output.dense."), hidden, own + "output.LayerNorm.")

    def attention(self, hidden: str, own: str) -> str:
        joined = self.dense(hidden, *(own + name for name in ("query.", "key.", "value.")))
        first = self.node("Split", [joined, self._thirds], outputs=3, axis=2)
        return self.node("MultiHeadAttention", [first, f"{first}.1", f"{first}.2"], num_heads=HEADS)

    def dense(self, given: str, *names: str) -> str:
        """`given` times the named matrices side by side, plus their biases."""
        matrix = np.concatenate([self._weights[name + "weight"] for name in names]).T.astype(np.float32)
        bias = self.constant(np.concatenate([self._weights[name + "bias"] for name in names]))
        if not self._int8:
            return self.node("Add", [self.node("MatMul", [given, self.constant(matrix)]), bias])
        integers, scales = quantise(matrix)
        no_zero_point = ""
        inputs = [given, self.constant(integers), self.constant(scales), no_zero_point, bias]
        return self.node("DynamicQuantizeMatMul", inputs)

    def add_and_norm(self, given: str, residual: str, own: str) -> str:
        norm = [self.weight(own + part) for part in ("weight", "bias")]
        total = self.node("Add", [given, residual])
        return self.node("LayerNormalization", [total, *norm], axis=-1, epsilon=_EPSILON)


_STANDARD = {"Add", "LayerNormalization", "MatMul", "ReduceMean", "Split"}


def quantise(matrix: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """(I, O) float32 -> integers (I, O) in -63..63 and scales (O,), one a column: their product is near."""
    scales = np.maximum(np.abs(matrix).max(axis=0), np.float32(1e-12)) / np.float32(_LARGEST_INTEGER)
    return np.rint(matrix / scales).astype(np.int8), scales.astype(np.float32)
