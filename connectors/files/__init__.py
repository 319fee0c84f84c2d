"""CSV, JSONL and Parquet files as transactions, and the files a reconciliation writes."""
