"""Pure array kernels that several domains use: Gaussian, tubeness, peaks, distance."""
