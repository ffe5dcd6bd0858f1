"""Compiled kernels: C structs and ``nogil`` functions with a thin Python door each.

Cython code reaches the C side by ``cimport dydx_perf.ext.NAME``; the ``.pxd`` beside each module is its
public interface. A pure build (no C compiler, or one without 128-bit integers) has no module here, and
``dydx_perf.exact`` answers alone.
"""
