-- A row in every table of leanstack's own that holds what users write, for dumps.
SELECT lean.create_feature_group('dumped', '{id bigint}', '["x float64"]');
SELECT lean.create_feature_view('dumped_view', '{dumped:x}');
SELECT lean.create_experiment('dumped', project => 'p', tags => '{"a": 1}');
SELECT lean.start_run('p/dumped', 'parent', run_id => '00000000-0000-4000-8000-000000000001', params => '{"depth": 3}');
SELECT lean.start_run('p/dumped', 'child', run_id => '00000000-0000-4000-8000-000000000002', parent_run => '00000000-0000-4000-8000-000000000001');
SELECT lean.log_metrics('00000000-0000-4000-8000-000000000002', '{"auc": 0.5, "loss": "NaN"}', step => 2);
SELECT lean.log_artifact('00000000-0000-4000-8000-000000000002', 'model', 's3://x', 1, 'c');
SELECT lean.log_dataset('00000000-0000-4000-8000-000000000002', 'data', 'd1');
SELECT lean.end_run('00000000-0000-4000-8000-000000000002');
SELECT lean.register_model('base', project => 'p'), lean.register_model('dumped', project => 'p'), lean.register_model('gone');
SELECT lean.create_model_version('base'), lean.create_model_version('dumped', '00000000-0000-4000-8000-000000000002', 's3://x',
    dataset => 'data', feature_view => 'dumped_view'), lean.create_model_version('dumped');
SELECT lean.add_parent('dumped@1', 'base@1', 'fine_tuned', '{"epochs": 3}'), lean.add_parent('dumped@2', 'dumped@1', 'quantized');
SELECT lean.set_alias('dumped', 'champion', 1, 'first'), lean.set_alias('dumped', 'champion', 2), lean.set_stage('dumped', 2, 'production');
SELECT lean.log_evaluation('dumped', 1, 'auc', 0.5, 'data');
SELECT lean.delete_model('gone');
SELECT lean.create_roles();
SELECT lean.train_pq('dumped', 'SELECT ARRAY[i % 7, i % 5, i % 3, i]::real[]::vector FROM generate_series(1, 100) AS i', m => 2, nbits => 4);
