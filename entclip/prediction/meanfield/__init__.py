"""Population (mean-field) prediction of a run from its configuration alone: no samples are drawn. Claim T11."""

from entclip.prediction.meanfield.forecast import Forecast, predict
from entclip.prediction.meanfield.noise_law import predict_noise

__all__ = ["Forecast", "predict", "predict_noise"]
