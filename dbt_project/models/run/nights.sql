select arrival_date from {{ run_table('nights') }}
