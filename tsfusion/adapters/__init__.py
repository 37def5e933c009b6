"""The forecaster in the vocabularies of other libraries; each module needs an extra of its name."""
