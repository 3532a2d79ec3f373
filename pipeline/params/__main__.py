"""Prints the reference: ``python -m pipeline.params markdown``, or ``schema``."""

import json
import sys

from pipeline.params.reference import json_schema, markdown

if sys.argv[1:] == ["markdown"]:
    print(markdown(), end="")
elif sys.argv[1:] == ["schema"]:
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
else:
    sys.exit("usage: python -m pipeline.params markdown | schema")
