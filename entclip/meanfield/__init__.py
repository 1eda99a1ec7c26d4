"""Population (mean-field) prediction of a run from its configuration alone: no samples are drawn. Claim T11."""

from entclip.meanfield.forecast import Forecast, predict

__all__ = ["Forecast", "predict"]
