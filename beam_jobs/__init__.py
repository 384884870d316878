"""Offline jobs, one file each: small Beam pipelines over `feature_store` and `llm_offline`."""

import logging

# Beam warns when it is imported that BigQuery's client is missing; no job here uses it.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
