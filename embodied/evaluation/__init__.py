"""From records to rates, intervals and reports."""
