"""What a run's log says about its clip and its entropy: `diagnose(path_or_rows)` and `entclip diagnose LOG`."""

from entclip.integrations.diagnose.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
