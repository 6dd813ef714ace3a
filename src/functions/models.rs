//! Models, their evaluation and lineage, the governance of all that is tracked, and what is imported from elsewhere: tables
//! and PL/pgSQL in `sql/experiments`, after those of runs.

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
extension_sql_file!(
    "../../sql/experiments/import.sql",
    name = "run_import",
    requires = ["governance"]
);
extension_sql_file!(
    "../../sql/experiments/import_models.sql",
    name = "model_import",
    requires = ["run_import"]
);
