"""The forecaster in the vocabularies of other libraries; each module needs the extra of its name."""
