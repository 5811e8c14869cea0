"""Mock surveys and mock shear observations."""

from tfp_massmap.simulate.observation import mock_observation
from tfp_massmap.simulate.survey import cosmos_like_survey
from tfp_massmap.simulate.survey import Survey
from tfp_massmap.simulate.survey import uniform_survey

__all__ = ["Survey", "cosmos_like_survey", "mock_observation", "uniform_survey"]
