"""Every form of the graph of many steps that was tried, and the proof that each form needs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from charlm.benchmarks.forms import float_products, int8_products, layout, steps
from charlm.benchmarks.forms.float_products import Wide
from charlm.benchmarks.forms.int8_products import CLIPPED, WideQGemm
from charlm.export import draw, generate_graph
from charlm.export.cell import FloatProducts, Products
from charlm.export.contract import Metadata
from charlm.export.contract_siblings import GENERATE, INT8, INT8_ORT, Kind
from charlm.export.int8 import Int8Products, QGemmProducts
from charlm.export.weights import Weights

SHIPPED = "as shipped: a Gemm a gate"
SHIPPED_INT8 = "as shipped: MatMulInteger, row added in int32, Cast, Mul"
TORCH, INT8_NUMPY, NEAR = "Torch", "int8", "near"


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        build: its serialised graph, checked.
        proof: what it is held against before it is timed: `TORCH`, the same int8 arithmetic in
            NumPy (`INT8_NUMPY`), or, where it quantises otherwise, `NEAR`.
        products: of the forms that can also read a text; None: it only draws.
        unrolled: steps that a run must have a multiple of.
        memory_pattern: ONNX Runtime plans the memory of a run from the run before.
    """

    build: Callable[[Weights, Metadata], bytes]
    proof: str = TORCH
    products: Callable[[Weights], Products] | None = None
    unrolled: int = 1
    memory_pattern: bool = True


def float_forms() -> dict[str, Form]:
    """The float32 forms by name, the one that ships first."""
    return {
        SHIPPED: _over(FloatProducts),
        "three gates in one Gemm, g in another": _over(float_products.TwoGemms),
        "one Gemm, Splits": _over(lambda weights: Wide(weights, float_products.gemm)),
        "one MatMul, Add, Splits": _over(lambda weights: Wide(weights, float_products.matmul_add)),
        "one 1x1 convolution, Add, Splits": _over(
            lambda weights: Wide(weights, float_products.convolution)
        ),
        "one Gemm, one Tanh for all gates, Sum": _laid(steps.one_tanh),
        "one Gemm for gates and logits, carried": _laid(steps.product_ahead),
        "LSTM operator in the body": _laid(steps.lstm_operator),
        "draws by CumSum, Min, ArgMax": _drawn(steps.draw_by_minimum),
        "draws by CumSum, GreaterOrEqual, Cast, ArgMax": _drawn(steps.draw_by_comparison),
        "draws by CumSum, Less, a count": _drawn(draw.draw_by_count),
        "characters cast to bytes in the body": _laid(_shipped_step(bytes_inside=True)),
        "weights outside the body": _laid(_shipped_step(weights_outside=True)),
        **{
            f"{count} steps in the body": replace(
                _laid(_shipped_step(unrolled=count)), unrolled=count
            )
            for count in (2, 4, 8)
        },
        "memory pattern off": replace(_over(FloatProducts), memory_pattern=False),
    }


def int8_forms() -> dict[str, Form]:
    """The int8 forms by name, the one that ships in plain ONNX first."""
    return {
        SHIPPED_INT8: _over(Int8Products, INT8, INT8_NUMPY),
        "the same, row added in float32": _over(_wide(int8_products.row_in_float), INT8, NEAR),
        "DequantizeLinear for Cast, Mul": _over(int8_products.Dequantised, INT8, INT8_NUMPY),
        "MatMulIntegerToFloat": _over(_wide(int8_products.integer_to_float), INT8_ORT, NEAR),
        "MatMulNBits, 8 bits": _over(_wide(int8_products.blocks_of_bytes), INT8_ORT, NEAR),
        "as shipped for many: QGemm a gate": _over(QGemmProducts, INT8_ORT, INT8_NUMPY),
        "the same, head too": _over(int8_products.HeadToo, INT8_ORT, NEAR),
        "one QGemm, Splits": _over(WideQGemm, INT8_ORT, INT8_NUMPY),
        "one QGemm, one scale for all": _over(
            lambda weights: WideQGemm(weights, 1.0), INT8_ORT, NEAR
        ),
        "the same, weights clipped at half the largest": _over(
            lambda weights: WideQGemm(weights, CLIPPED), INT8_ORT, NEAR
        ),
        "DynamicQuantizeLSTM in the body": replace(_laid(steps.int8_lstm_operator), proof=NEAR),
    }


def _wide(total: float_products.Total) -> Callable[[Weights], Products]:
    return lambda weights: Wide(weights, total)


def _over(
    products: Callable[[Weights], Products], kind: Kind = GENERATE, proof: str = TORCH
) -> Form:
    """The shipped graph over other products."""
    return Form(
        lambda weights, metadata: generate_graph.build(products(weights), metadata, kind),
        proof,
        products,
    )


def _laid(laid: Callable[[Weights], layout.Layout]) -> Form:
    return Form(lambda weights, metadata: layout.build(laid(weights), metadata))


def _shipped_step(
    drawn: steps.Draw = draw.draw,
    unrolled: int = 1,
    weights_outside: bool = False,
    bytes_inside: bool = False,
) -> Callable[[Weights], layout.Layout]:
    """The step that ships, in another layout."""

    def laid(weights: Weights) -> layout.Layout:
        step = steps.of_products(FloatProducts(weights), weights.vocabulary, drawn)
        return layout.Layout(
            step,
            unrolled=unrolled,
            weights_outside=weights_outside,
            bytes_inside=bytes_inside,
        )

    return laid


def _drawn(drawn: steps.Draw) -> Form:
    return _laid(_shipped_step(drawn))
