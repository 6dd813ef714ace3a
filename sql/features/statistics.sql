-- Distances and tests between distributions. They agree with those of scipy; docs/drift.md has the formulas.

COMMENT ON FUNCTION lean.psi(double precision[], double precision[]) IS
    'population stability index of two rows of counts or shares; an empty bin counts as a share of 0.0001';
COMMENT ON FUNCTION lean.js_distance(double precision[], double precision[]) IS
    'Jensen-Shannon distance to base 2 of two rows of counts or shares; from 0, the same, to 1, nothing in common';
COMMENT ON FUNCTION lean.wasserstein_distance(double precision[], double precision[]) IS
    'Wasserstein (earth mover''s) distance of two samples; null if one is empty';
COMMENT ON FUNCTION lean.ks_test(double precision[], double precision[]) IS
    'two-sided Kolmogorov-Smirnov test of two samples, exact for up to 10000 values; nulls if one is empty';
COMMENT ON FUNCTION lean.chi2_test(bigint[], bigint[]) IS
    'Pearson''s chi-squared test of two rows of counts; columns without a count are left out';
