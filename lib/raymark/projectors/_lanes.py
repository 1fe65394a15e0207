"""Vectors of sixteen float32 for numba kernels, so that hot loops are SIMD by construction.

Numba vectorises a loop only when it can prove that arrays do not overlap, which short loops over
pieces of the same scratch array never let it. These few operations are LLVM's own vector
instructions: LLVM splits them into whatever registers the processor has (AVX-512, AVX2, NEON).
Arrays are one-dimensional and contiguous; positions are element indices and are not checked.

Numba's on-disk cache does not watch this file: after editing it, touch the modules of its users.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


class Float32x16(types.Type):
    """The numba type of one vector."""

    def __init__(self):
        super().__init__("Float32x16")


@register_model(Float32x16)
class _Float32x16Model(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _VECTOR)


_float32x16 = Float32x16()


def _pointer(context, builder, array_type, array, position, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [position]), vector.as_pointer())


def _splat(builder, scalar):
    index = ir.IntType(32)
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, index(0))
    mask = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
    return builder.shuffle_vector(first, first, mask)


def _call(builder, name, *args):
    function_type = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    name = f"llvm.{name}.v{LANES}f32"
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, args)


@intrinsic
def load(typingctx, array, position):
    """Read `array[position : position + 16]` of a float32 or int16 array as float32."""

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(context.get_data_type(array.dtype), LANES)
        pointer = _pointer(context, builder, array, args[0], args[1], vector)
        value = builder.load(pointer, align=array.dtype.bitwidth // 8, typ=vector)
        return value if array.dtype == types.float32 else builder.sitofp(value, _VECTOR)

    return _float32x16(array, types.intp), codegen


@intrinsic
def store(typingctx, array, position, value):
    """Write a vector to `array[position : position + 16]` of a float32 array."""

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], args[1], _VECTOR)
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _float32x16), codegen


@intrinsic
def splat(typingctx, scalar):
    """Sixteen times the same float32."""

    def codegen(context, builder, signature, args):
        return _splat(builder, args[0])

    return _float32x16(types.float32), codegen


@intrinsic
def ramp(typingctx, start, step):
    """`start + step * (0, 1, ... 15)`."""

    def codegen(context, builder, signature, args):
        lanes = ir.Constant(_VECTOR, [float(lane) for lane in range(LANES)])
        start, step = (_splat(builder, arg) for arg in args)
        return _call(builder, "fmuladd", lanes, step, start)

    return _float32x16(types.float32, types.float32), codegen


@intrinsic
def multiply_add(typingctx, a, b, c):
    """`a * b + c`."""

    def codegen(context, builder, signature, args):
        return _call(builder, "fmuladd", *args)

    return _float32x16(_float32x16, _float32x16, _float32x16), codegen


@intrinsic
def subtract(typingctx, a, b):
    """`a - b`."""

    def codegen(context, builder, signature, args):
        return builder.fsub(*args)

    return _float32x16(_float32x16, _float32x16), codegen


@intrinsic
def hat_integral(typingctx, x):
    """The integral of the hat function max(0, 1 - |t|) over t from minus infinity to x."""

    def codegen(context, builder, signature, args):
        half, one = (ir.Constant(_VECTOR, [value] * LANES) for value in (0.5, 1.0))
        minus_one, minus_half = (ir.Constant(_VECTOR, [value] * LANES) for value in (-1.0, -0.5))
        x = _call(builder, "maxnum", minus_one, _call(builder, "minnum", one, args[0]))
        slope = _call(builder, "fmuladd", minus_half, _call(builder, "fabs", x), one)
        return _call(builder, "fmuladd", x, slope, half)

    return _float32x16(_float32x16), codegen
