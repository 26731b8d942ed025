"""dify-metric: the metrics, metering and reporting collector for self-hosted Dify."""

__version__ = "0.1.0"
