#!/usr/bin/env python3
"""Where the coefficients of erf in vector_math-inl.h come from. Needs numpy and mpmath; prints the two polynomials.

erf(x) = x + x P(x^2) for |x| < 1;  erfc(x) = exp(-x^2) t Q(t), t = 1 / (1 + 0.4 x), for x in [0, 10.3], where f32 ends.
Both are fitted for the smallest largest relative error: least squares, with the weights raised where the error is
large until the ripples are level (Lawson's method), then rounded to f32. The 0.4 keeps the coefficients of Q small.
"""
import mpmath
import numpy


def minimax(x, y, shift, degree, rounds=400):
    """Coefficients c, lowest power first, with the least max |(shift + c(x)) / y - 1| over the points."""
    basis = numpy.vander(x, degree + 1, increasing=True) / y[:, None]
    target = 1 - shift / y
    weight = numpy.full(len(x), 1.0 / len(x))
    for _ in range(rounds):
        root = numpy.sqrt(weight)
        c = numpy.linalg.lstsq(root[:, None] * basis, root * target, rcond=None)[0]
        weight *= numpy.abs(basis @ c - target)
        weight /= weight.sum()
    return c.astype(numpy.float32)


def report(name, x, y, shift, degree):
    c = minimax(x, y, shift, degree)
    error = numpy.abs((shift + numpy.polyval(c[::-1].astype(float), x)) / y - 1).max()
    print(f"{name}: degree {degree}, relative error {error:.1e}\n  " + ", ".join(f"{v:.9g}f" for v in c))


nodes = (1 - numpy.cos(numpy.pi * (numpy.arange(2000) + 0.5) / 2000)) / 2  # Chebyshev nodes of [0, 1]

report("P", nodes, numpy.array([float(mpmath.erf(mpmath.sqrt(s)) / mpmath.sqrt(s)) for s in nodes]), 1, 6)

t_low = 1 / (1 + 0.4 * 10.3)
t = t_low + (1 - t_low) * nodes
x = (1 / t - 1) / 0.4
report("Q", t, numpy.array([float(mpmath.erfc(v) * mpmath.exp(mpmath.mpf(v) ** 2) / w) for v, w in zip(x, t)]), 0, 8)
