//! Models, their evaluation and lineage, and the governance of all that is tracked: tables and PL/pgSQL in
//! `sql/experiments`, after those of runs.

use pgrx::prelude::*;

extension_sql_file!(
    "../../sql/experiments/models.sql",
    name = "models",
    requires = ["experiment_search", "feature_history"]
);
extension_sql_file!(
    "../../sql/experiments/evaluation.sql",
    name = "model_evaluation",
    requires = ["models"]
);
extension_sql_file!(
    "../../sql/experiments/lineage.sql",
    name = "model_lineage",
    requires = ["model_evaluation"]
);
extension_sql_file!(
    "../../sql/experiments/governance.sql",
    name = "governance",
    requires = ["model_lineage"]
);
