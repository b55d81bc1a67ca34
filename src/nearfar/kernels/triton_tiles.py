"""The programs of `triton_lse`: each owns a block of rows of x ("own") and streams blocks of rows of y past it.

Logarithms and exps are to base 2. x is [m, WIDTH], y [n, WIDTH], WIDTH a whole number of pieces; the logit of own i and
stream j is `scale * x_i . y_j` plus the bias of the column. No two programs write to one place.
"""

import triton
import triton.language as tl

# Sizes that change from batch to batch must not each cost a compilation.
_SIZES = ["m", "n", "offset", "first", "per_chunk", "start", "stop", "size", "parts", "stride"]

# Arguments stay in lines of their kind.
# fmt: off


@triton.jit
def _rows(matrix, at, size, piece, WIDTH: tl.constexpr, PIECE: tl.constexpr):
    """One piece of the rows `at`, 0 beyond the end: [at PIECE]."""
    columns = piece * PIECE + tl.arange(0, PIECE)
    return tl.load(matrix + at.to(tl.int64)[:, None] * WIDTH + columns[None, :], mask=(at < size)[:, None], other=0.0)


@triton.jit
def _plan(
    block, m, n, offset, start, stop, groups,
    OWN: tl.constexpr, STREAM: tl.constexpr, SELF: tl.constexpr, SYMMETRIC: tl.constexpr,
):
    """Cut the tiles start..stop: in hole..after and whole..stop some pairs may not count; in the others all do."""
    hole, after = start, start
    if SELF:
        hole = tl.minimum(tl.maximum(tl.maximum(block * OWN + offset, 0) // STREAM, start), stop)
        past = tl.maximum(block * OWN + OWN + offset, 0) + STREAM - 1
        after = tl.minimum(tl.maximum(past // STREAM, start), stop)
    if SYMMETRIC:
        start = hole
    whole = tl.minimum(tl.maximum(n // STREAM, after), stop)
    by_pair = block * OWN + OWN > m
    if groups is not None:
        by_pair = block >= 0
    hole = tl.where(by_pair, start, hole)
    after = tl.where(by_pair, stop, after)
    whole = tl.where(by_pair, stop, whole)
    return start, hole, after, whole


@triton.jit
def _count(
    own, stream, own_groups, stream_groups, m, n, offset,
    SELF: tl.constexpr, SYMMETRIC: tl.constexpr, SAME: tl.constexpr,
):
    """Whether the pairs (own, stream), two index tensors that broadcast, count."""
    ok = (own < m) & (stream < n)
    if SYMMETRIC:
        ok = ok & (stream > own)
    elif SELF:
        ok = ok & (stream != own + offset)
    if own_groups is not None:
        mine = tl.load(own_groups + own, mask=own < m, other=0)
        theirs = tl.load(stream_groups + stream, mask=stream < n, other=0)
        ok = ok & ((mine == theirs) if SAME else (mine != theirs))
    return ok


@triton.jit
def _sums(
    total, top, x, x_ptr, y_ptr, scale, bias, own, own_groups, stream_groups, stream_part, m, n, offset,
    begin, hole, skip, tiles,
    WIDTH: tl.constexpr, PIECE: tl.constexpr, OWN: tl.constexpr, STREAM: tl.constexpr, SELF: tl.constexpr,
    SYMMETRIC: tl.constexpr, SAME: tl.constexpr, BOUNDED: tl.constexpr, PRECISION: tl.constexpr, BY_PAIR: tl.constexpr,
):
    """Add tiles [stream own] to the sums of exp; own sums stay apart by stream row, and are one only in the end."""
    for k in range(0, tiles):
        tile = begin + k
        tile += tl.where(tile >= hole, skip, 0)
        stream = tile * STREAM + tl.arange(0, STREAM)
        if WIDTH == PIECE:
            dots = tl.dot(_rows(y_ptr, stream, n, 0, WIDTH, PIECE), tl.trans(x), input_precision=PRECISION)
        else:
            dots = tl.zeros((STREAM, OWN), tl.float32)
            for piece in range(0, WIDTH // PIECE):
                dots = tl.dot(
                    _rows(y_ptr, stream, n, piece, WIDTH, PIECE), tl.trans(_rows(x_ptr, own, m, piece, WIDTH, PIECE)),
                    dots, input_precision=PRECISION,
                )
        logits = dots * scale
        if bias is not None:
            logits += tl.load(bias + stream, mask=stream < n, other=0.0)[:, None]
        if BY_PAIR:
            ok = _count(own[None, :], stream[:, None], own_groups, stream_groups, m, n, offset, SELF, SYMMETRIC, SAME)
            logits = tl.where(ok, logits, float("-inf"))
        if BOUNDED:
            entries = tl.exp2(logits)
            total += entries
            if stream_part is not None:
                part = tl.log2(tl.sum(entries, 1))
        else:
            before = top
            top = tl.maximum(top, tl.max(logits, 0))
            shift = tl.where(top == float("-inf"), 0.0, top)
            total = total * tl.exp2(before - shift)[None, :] + tl.exp2(logits - shift[None, :])
            if stream_part is not None:
                largest = tl.max(logits, 1)
                shift = tl.where(largest == float("-inf"), 0.0, largest)
                part = shift + tl.log2(tl.sum(tl.exp2(logits - shift[:, None]), 1))
        if stream_part is not None:
            tl.store(stream_part + stream, part, mask=stream < n)
    return total, top


@triton.jit(do_not_specialize=_SIZES)
def sums_of_exp(
    x_ptr, y_ptr, scale_ptr, bias, own_groups, stream_groups, own_parts, stream_parts,
    m, n, offset, first, per_chunk, start, stop, stride,
    WIDTH: tl.constexpr, PIECE: tl.constexpr, OWN: tl.constexpr, STREAM: tl.constexpr, SELF: tl.constexpr,
    SYMMETRIC: tl.constexpr, SAME: tl.constexpr, BOUNDED: tl.constexpr, PRECISION: tl.constexpr,
):
    """Log of the sums of exp over the tiles of one chunk: of own rows, and (by own block) of stream rows.

    Grid: own blocks from `first` on, chunks of the stream's tiles start..stop. own_parts [chunks, stride];
    stream_parts [blocks, n] or None. SYMMETRIC (x is y): only pairs with stream > own.
    """
    slot, chunk = tl.program_id(0), tl.program_id(1)
    block = first + slot
    begin = start + chunk * per_chunk
    stop = tl.minimum(begin + per_chunk, stop)
    own = block * OWN + tl.arange(0, OWN)
    x = None
    if WIDTH == PIECE:
        x = _rows(x_ptr, own, m, 0, WIDTH, PIECE)
    scale = tl.load(scale_ptr)
    if stream_parts is not None:
        stream_parts += slot.to(tl.int64) * n
    total = tl.zeros((STREAM, OWN), tl.float32)
    top = tl.full((OWN,), 0.0 if BOUNDED else float("-inf"), tl.float32)
    begin, hole, after, whole = _plan(block, m, n, offset, begin, stop, own_groups, OWN, STREAM, SELF, SYMMETRIC)
    total, top = _sums(
        total, top, x, x_ptr, y_ptr, scale, bias, own, own_groups, stream_groups, stream_parts, m, n, offset,
        begin, hole, after - hole, whole - after + hole - begin,
        WIDTH, PIECE, OWN, STREAM, SELF, SYMMETRIC, SAME, BOUNDED, PRECISION, False,
    )
    total, top = _sums(
        total, top, x, x_ptr, y_ptr, scale, bias, own, own_groups, stream_groups, stream_parts, m, n, offset,
        hole, after, whole - after, stop - whole + after - hole,
        WIDTH, PIECE, OWN, STREAM, SELF, SYMMETRIC, SAME, BOUNDED, PRECISION, True,
    )
    sums = tl.log2(tl.sum(total, 0))
    tl.store(own_parts + chunk.to(tl.int64) * stride + slot * OWN + tl.arange(0, OWN), top + sums)


@triton.jit(do_not_specialize=_SIZES)
def merge(parts_ptr, top_ptr, total_ptr, size, parts, stride, BLOCK: tl.constexpr):
    """Take logs of sums, parts_ptr [parts, stride] in their order, into the running sums `total * 2 ** top` [size]."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    top = tl.load(top_ptr + at, mask=inside, other=0.0)
    total = tl.load(total_ptr + at, mask=inside, other=0.0)
    for k in range(0, parts):
        part = tl.load(parts_ptr + tl.cast(k, tl.int64) * stride + at, mask=inside, other=float("-inf"))
        before = top
        top = tl.maximum(top, part)
        shift = tl.where(top == float("-inf"), 0.0, top)
        total = total * tl.exp2(before - shift) + tl.exp2(part - shift)
    tl.store(top_ptr + at, top, mask=inside)
    tl.store(total_ptr + at, total, mask=inside)


@triton.jit
def _weigh(
    result, bias_sum, x, x_ptr, y_ptr, scale, shift, own_bias, stream_bias, own_lse, own_factor, stream_lse,
    stream_factor, own, own_groups, stream_groups, m, n, offset, out_piece, begin, hole, skip, tiles,
    WIDTH: tl.constexpr, PIECE: tl.constexpr, OUT: tl.constexpr, OWN: tl.constexpr, STREAM: tl.constexpr,
    SELF: tl.constexpr, SAME: tl.constexpr, ONE_EXP: tl.constexpr, PRECISION: tl.constexpr, BY_PAIR: tl.constexpr,
):
    """Add weights @ y of tiles [own stream] to result [OWN OUT]."""
    for k in range(0, tiles):
        tile = begin + k
        tile += tl.where(tile >= hole, skip, 0)
        stream = tile * STREAM + tl.arange(0, STREAM)
        if WIDTH == PIECE:
            y = _rows(y_ptr, stream, n, 0, WIDTH, PIECE)
            dots = tl.dot(x, tl.trans(y), input_precision=PRECISION)
        else:
            dots = tl.zeros((OWN, STREAM), tl.float32)
            for piece in range(0, WIDTH // PIECE):
                dots = tl.dot(
                    _rows(x_ptr, own, m, piece, WIDTH, PIECE), tl.trans(_rows(y_ptr, stream, n, piece, WIDTH, PIECE)),
                    dots, input_precision=PRECISION,
                )
            y = _rows(y_ptr, stream, n, out_piece, WIDTH, OUT)
        logits = dots * scale - shift
        if own_bias is not None:
            logits += own_bias[:, None]
        if stream_bias is not None:
            logits += tl.load(stream_bias + stream, mask=stream < n, other=0.0)[None, :]
        if ONE_EXP:
            if own_factor is None:
                factor = tl.load(stream_factor + stream, mask=stream < n, other=0.0)[None, :]
            elif stream_factor is None:
                factor = own_factor[:, None]
            else:
                factor = own_factor[:, None] + tl.load(stream_factor + stream, mask=stream < n, other=0.0)[None, :]
            weights = tl.exp2(logits) * factor
        else:
            weights = tl.zeros((OWN, STREAM), tl.float32)
            if own_factor is not None:
                weights += tl.exp2(logits - own_lse[:, None]) * own_factor[:, None]
            if stream_factor is not None:
                lse = tl.load(stream_lse + stream, mask=stream < n, other=0.0)
                factor = tl.load(stream_factor + stream, mask=stream < n, other=0.0)
                weights += tl.exp2(logits - lse[None, :]) * factor[None, :]
        if BY_PAIR:
            ok = _count(own[:, None], stream[None, :], own_groups, stream_groups, m, n, offset, SELF, False, SAME)
            weights = tl.where(ok, weights, 0.0)
        if bias_sum is not None:
            bias_sum += tl.sum(weights, 1)
        result = tl.dot(weights.to(y.dtype), y, result, input_precision=PRECISION)
    return result, bias_sum


@triton.jit(do_not_specialize=_SIZES)
def weighted_sums(
    x_ptr, y_ptr, scale_ptr, shift_ptr, own_bias, stream_bias, own_lse, own_factor, stream_lse, stream_factor,
    own_groups, stream_groups, out, bias_out, m, n, offset, per_chunk, stop,
    WIDTH: tl.constexpr, PIECE: tl.constexpr, OUT: tl.constexpr, OWN: tl.constexpr, STREAM: tl.constexpr,
    SELF: tl.constexpr, SAME: tl.constexpr, PRECISION: tl.constexpr,
):
    """Sum over the stream j of one chunk of w_ij y_j, w_ij = own_factor_i 2^(t_ij - own_lse_i) + the same of j.

    Grid: own blocks, pieces of the width, chunks of 0..stop tiles. out [chunks, m, WIDTH] and, of w alone,
    bias_out [chunks, m] or None. With a shift, both lse stand in their factors already, less the shift.
    """
    block, out_piece, chunk = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    begin = chunk * per_chunk
    stop = tl.minimum(begin + per_chunk, stop)
    own = block * OWN + tl.arange(0, OWN)
    x = None
    if WIDTH == PIECE:
        x = _rows(x_ptr, own, m, 0, WIDTH, PIECE)
    scale = tl.load(scale_ptr)
    ONE_EXP: tl.constexpr = shift_ptr is not None
    shift = tl.load(shift_ptr) if ONE_EXP else 0.0
    mine = own < m
    if own_bias is not None:
        own_bias = tl.load(own_bias + own, mask=mine, other=0.0)
    if own_lse is not None:
        own_lse = tl.load(own_lse + own, mask=mine, other=0.0)
    if own_factor is not None:
        own_factor = tl.load(own_factor + own, mask=mine, other=0.0)
    bias_sum = None
    if bias_out is not None:
        bias_sum = tl.zeros((OWN,), tl.float32)
    result = tl.zeros((OWN, OUT), tl.float32)
    begin, hole, after, whole = _plan(block, m, n, offset, begin, stop, own_groups, OWN, STREAM, SELF, False)
    result, bias_sum = _weigh(
        result, bias_sum, x, x_ptr, y_ptr, scale, shift, own_bias, stream_bias, own_lse, own_factor, stream_lse,
        stream_factor, own, own_groups, stream_groups, m, n, offset, out_piece,
        begin, hole, after - hole, whole - after + hole - begin,
        WIDTH, PIECE, OUT, OWN, STREAM, SELF, SAME, ONE_EXP, PRECISION, False,
    )
    result, bias_sum = _weigh(
        result, bias_sum, x, x_ptr, y_ptr, scale, shift, own_bias, stream_bias, own_lse, own_factor, stream_lse,
        stream_factor, own, own_groups, stream_groups, m, n, offset, out_piece,
        hole, after, whole - after, stop - whole + after - hole,
        WIDTH, PIECE, OUT, OWN, STREAM, SELF, SAME, ONE_EXP, PRECISION, True,
    )
    at = (chunk.to(tl.int64) * m + own) * WIDTH
    columns = out_piece * OUT + tl.arange(0, OUT)
    tl.store(out + at[:, None] + columns[None, :], result, mask=mine[:, None])
    if bias_out is not None:
        tl.store(bias_out + chunk.to(tl.int64) * m + own, bias_sum, mask=mine & (out_piece == 0))


# Whether the programs are run by Python on the CPU (TRITON_INTERPRET=1 when this file is imported).
INTERPRETED = not isinstance(merge, triton.JITFunction)
