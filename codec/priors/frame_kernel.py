"""The compiled loop of a frame prior: predicts and codes symbol after symbol, in integers that fit 32 bits."""

from __future__ import annotations

import numpy as np

from codec.entropy.compiled import compiled, look, put, skip
from codec.priors.frame_tables import MAX_ACTIVATION, SCALE_BITS

FLAG_TOTAL, FLAG_START, FLAG_SPEED = 1 << 16, 1 << 11, 4  # of the chance that a frame repeats the one before
HALF = 1 << SCALE_BITS - 1


@compiled
def layer(layers, index, inputs, least, outputs):
    """Outputs, brought into `least` to MAX_ACTIVATION, of layer `index`."""
    weight, bias, shift = layers.weight[index], layers.bias[index], layers.shift[index]
    for row in range(len(weight)):
        total = bias[row]
        for column in range(weight.shape[1]):
            total = np.int32(total + np.int32(weight[row, column]) * np.int32(inputs[column]))
        outputs[row] = min(max(total >> shift[row], least), MAX_ACTIVATION)


@compiled
def weigh(tables, book, features, weights):
    """Fill in the weight of every code of a codebook; returns their sum."""
    head, bias, shift = tables.head.weight[book], tables.head.bias[book], tables.head.shift[book]
    exponentials, last = tables.exponentials, np.int32(len(tables.exponentials) - 1)
    for code in range(len(head)):
        total = bias[code]
        for column in range(head.shape[1]):
            total = np.int32(total + np.int32(head[code, column]) * np.int32(features[column]))
        weights[code] = total >> shift[code]
    largest = weights[0]
    for code in range(len(head)):
        largest = max(largest, weights[code])
    everything = np.int64(0)
    for code in range(len(head)):
        below = np.int32(largest - weights[code])
        weights[code] = exponentials[np.uint32(min(below, last))]
        everything += weights[code]
    return everything


@compiled
def exchange(coder, words, weights, total, symbol, encoding):
    """Put `symbol` in, or take one out; returns it, or -1 if no symbols have these bytes."""
    start = np.int64(0)
    if encoding:
        for before in range(symbol):
            start += weights[before]
        put(coder, words, start, weights[symbol], total)
        return symbol
    found = look(coder, total)
    if found >= total:
        return -1
    symbol = 0
    while start + weights[symbol] <= found:
        start += weights[symbol]
        symbol += 1
    skip(coder, words, start, weights[symbol], total)
    return symbol


@compiled
def code_frames(codes, tables, coder, words, encoding):
    """Put `codes` int64 `[q, frames]` into a coder, or fill them in from one; False if no codes have its bytes.

    Each frame but the first begins with a flag: whether its codes are those of the frame before. If not, they follow.
    """
    num_active, num_frames = codes.shape
    width, num_hidden = tables.embedding.shape[2], tables.past.weight.shape[1]
    kernel, depth = tables.past.weight.shape[2] // width, len(tables.dilations)
    reach = 0
    for dilation in tables.dilations:
        reach = max(reach, dilation)
    frames = np.zeros((num_frames + kernel) * width, dtype=np.int16)
    seen = np.zeros((depth + 1, num_frames + reach, num_hidden), dtype=np.int16)
    pair = np.zeros(2 * num_hidden, dtype=np.int16)
    inputs = np.zeros(2 * num_hidden + 2 * width, dtype=np.int16)
    hidden, known = inputs[:num_hidden], inputs[num_hidden:]
    past, summed, last = known[:num_hidden], known[num_hidden:-width], known[-width:]
    exact = np.zeros(width, dtype=np.int64)
    features = np.zeros(tables.head.weight.shape[2], dtype=np.int16)
    weights = np.zeros(tables.head.weight.shape[1], dtype=np.int32)
    flag = np.array([FLAG_TOTAL - FLAG_START, FLAG_START], dtype=np.int32)
    for t in range(num_frames):
        place = t + reach
        layer(tables.past, 0, frames[t * width : (t + kernel) * width], 0, seen[0, place])
        for index in range(depth):
            pair[:num_hidden] = seen[index, place - tables.dilations[index]]
            pair[num_hidden:] = seen[index, place]
            layer(tables.further, index, pair, 0, seen[index + 1, place])
        past[:] = seen[depth, place]
        summed[:], last[:], exact[:] = 0, 0, 0
        repeated = 0
        if t > 0:
            repeated = int((codes[:, t] == codes[:, t - 1]).all())
            repeated = exchange(coder, words, flag, FLAG_TOTAL, repeated, encoding)
            if repeated < 0:
                return False
            flag[repeated] += flag[1 - repeated] >> FLAG_SPEED
            flag[1 - repeated] -= flag[1 - repeated] >> FLAG_SPEED
        for book in range(num_active):
            if repeated:
                codes[book, t] = codes[book, t - 1]
            else:
                layer(tables.first, book, known, 0, hidden)
                layer(tables.second, book, inputs, -MAX_ACTIVATION, features)
                total = weigh(tables, book, features, weights)
                code = exchange(coder, words, weights, total, codes[book, t], encoding)
                if code < 0:
                    return False
                codes[book, t] = code
            last[:] = tables.embedding[book, codes[book, t]]
            for column in range(width):
                exact[column] += tables.scale[book] * last[column]
                rounded = (exact[column] + HALF) >> SCALE_BITS
                summed[column] = min(max(rounded, -MAX_ACTIVATION), MAX_ACTIVATION)
        frames[(t + kernel) * width : (t + kernel + 1) * width] = summed
    return True
