select mode, maturity_days, negative_label from {{ run_table('parameters') }}
