"""Prints the JSON schema by which editors complete params.yaml: ``make schema``."""

import json

from pipeline.params import Params

print(json.dumps(Params.model_json_schema(), indent=2, ensure_ascii=False))
